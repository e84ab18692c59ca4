#include "model/net/head.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/softmax.h>

#include <algorithm>

#include "model/net/linear.h"

namespace longrun {
namespace {

constexpr std::int64_t kChunkLogitsMax = std::int64_t{1} << 23;  // 32 MiB of fp32

std::int64_t ChunkRows(std::int64_t vocab_size) {
  return std::max<std::int64_t>(1, kChunkLogitsMax / vocab_size);
}

// The head in the type of its product, once for all chunks.
Head ForProduct(const Head& head, const Compute& compute) {
  return {.weight_VC = head.weight_VC.to(compute.product), .bias_V = head.bias_V};
}

}  // namespace

at::Tensor HeadLogits(const at::Tensor& hidden_NC, const Head& head, const Compute& compute) {
  const at::Tensor z = MatrixProduct(hidden_NC.to(compute.product),
                                     head.weight_VC.to(compute.product).t(), compute.path)
                           .to(compute.dtype);
  return head.bias_V.defined() ? z + head.bias_V : z;
}

at::Tensor HeadNll(const at::Tensor& hidden_NC, const Head& given, const at::Tensor& targets_N,
                   const Compute& compute) {
  const at::NoGradGuard no_grad;
  const Head head = ForProduct(given, compute);
  const std::int64_t n_rows = hidden_NC.size(0);
  at::Tensor nll_N = at::empty({n_rows}, hidden_NC.options().dtype(compute.dtype));
  const std::int64_t chunk = ChunkRows(head.weight_VC.size(0));
  for (std::int64_t begin = 0; begin < n_rows; begin += chunk) {
    const std::int64_t n = std::min(chunk, n_rows - begin);
    const at::Tensor z = HeadLogits(hidden_NC.narrow(0, begin, n), head, compute);
    const at::Tensor target = targets_N.narrow(0, begin, n).unsqueeze(1);
    nll_N.narrow(0, begin, n).copy_(at::logsumexp(z, 1) - z.gather(1, target).squeeze(1));
  }
  return nll_N;
}

HeadGradient HeadNllBackward(const at::Tensor& hidden_NC, const Head& given,
                             const at::Tensor& targets_N, double weight, const Compute& compute,
                             const Head& head_gradient) {
  const at::NoGradGuard no_grad;
  const Head head = ForProduct(given, compute);
  const std::int64_t n_rows = hidden_NC.size(0);
  HeadGradient result = {.nll_N = at::empty({n_rows}, hidden_NC.options().dtype(compute.dtype)),
                         .hidden_NC = at::empty_like(hidden_NC)};
  const std::int64_t chunk = ChunkRows(head.weight_VC.size(0));
  for (std::int64_t begin = 0; begin < n_rows; begin += chunk) {
    const std::int64_t n = std::min(chunk, n_rows - begin);
    const at::Tensor hidden = hidden_NC.narrow(0, begin, n).to(compute.product);
    const at::Tensor z = HeadLogits(hidden, head, compute);
    const at::Tensor target = targets_N.narrow(0, begin, n).unsqueeze(1);
    const at::Tensor lse = at::logsumexp(z, 1, true);
    result.nll_N.narrow(0, begin, n).copy_((lse - z.gather(1, target)).squeeze(1));
    at::Tensor dz = z.sub_(lse).exp_();
    dz.scatter_add_(1, target, at::full({n, 1}, -1.0, dz.options()));
    dz = dz.mul_(weight);
    if (head.bias_V.defined()) head_gradient.bias_V.add_(dz.sum(0));
    dz = dz.to(compute.product);
    result.hidden_NC.narrow(0, begin, n).copy_(MatrixProduct(dz, head.weight_VC, compute.path));
    head_gradient.weight_VC.add_(MatrixProduct(dz.t(), hidden, compute.path));
  }
  return result;
}

}  // namespace longrun
