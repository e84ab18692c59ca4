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

#include "kernels/cross_entropy.h"
#include "kernels/cuda_rows.h"
#include "model/net/on_gpu.h"
#include "model/net/row_operators.h"

namespace longrun {
namespace {

// The rows of a chunk. On a CPU it has 32 MiB of fp32, or in training what the run began with
// (model/head_chunks.h). On a GPU, where each chunk reads and writes the weight's gradient, it has
// 512 MiB: with our kernels, which write the gradient in place of the logits, in the product's
// type; else half of it for copies. There the chunks are about as long as each other.
// sweeps/cost.cc reckons with all of them.
std::int64_t ChunkRows(std::int64_t n_row, const Head& head, const Compute& compute,
                       HeadChunks on_cpu) {
  const std::int64_t n_vocab = head.weight_VC.size(0);
  if (compute.device.is_cpu()) return HeadChunkRows(on_cpu, n_vocab, head.weight_VC.size(1));
  constexpr std::int64_t kBytesMax = std::int64_t{1} << 29, kTile = 128;
  const bool is_in_place = HasKernels(compute) && !head.bias_V.defined();
  const auto row_bytes =
      n_vocab * (is_in_place ? static_cast<std::int64_t>(c10::elementSize(compute.product)) : 8);
  const std::int64_t rows_max = std::max<std::int64_t>(1, kBytesMax / row_bytes);
  const std::int64_t n_chunk = std::max<std::int64_t>(1, (n_row + rows_max - 1) / rows_max);
  const std::int64_t even = (n_row + n_chunk - 1) / n_chunk;
  return std::min(rows_max, (even + kTile - 1) / kTile * kTile);
}

// The head in its product's type, converted once for all chunks.
Head ForProduct(const Head& head, const Compute& compute) {
  at::Tensor weight_VC =
      head.rounded_VC.defined() ? head.rounded_VC : head.weight_VC.to(compute.product);
  // On a CPU, the product would otherwise widen it again for each chunk.
  if (compute.product == at::kHalf && compute.device.is_cpu()) weight_VC = weight_VC.to(at::kFloat);
  return {.weight_VC = weight_VC, .bias_V = head.bias_V};
}

// `head` comes from ForProduct.
at::Tensor ProductOf(const at::Tensor& hidden_NC, const Head& head, const Compute& compute) {
  return MatrixProduct(hidden_NC.to(compute.product), head.weight_VC.t(), compute.path);
}
at::Tensor LogitsOf(const at::Tensor& hidden_NC, const Head& head, const Compute& compute) {
  const at::Tensor z = ProductOf(hidden_NC, head, compute).to(compute.dtype);
  return head.bias_V.defined() ? z + head.bias_V : z;
}

// Writes the nll of a chunk into `nll_N`; with `gradient`, the logits become weight
// (softmax - onehot). Without a bias they are read in the product's type.
at::Tensor ChunkLoss(const at::Tensor& hidden_NC, const Head& head, const at::Tensor& targets_N,
                     double weight, bool gradient, const Compute& compute,
                     const at::Tensor& nll_N) {
  at::Tensor z = head.bias_V.defined() ? LogitsOf(hidden_NC, head, compute)
                                       : ProductOf(hidden_NC, head, compute);
  z = z.contiguous();
  const at::Tensor targets = targets_N.contiguous();
  const auto loss = [&](auto* logits) {
    const CrossEntropyCall call = {.n_row = z.size(0),
                                   .n_vocab = z.size(1),
                                   .logits = logits,
                                   .targets = targets.const_data_ptr<std::int64_t>(),
                                   .nll = nll_N.mutable_data_ptr<float>(),
                                   .d_logits = gradient ? Elements(logits) : Elements(),
                                   .weight = weight};
    if (!z.is_cpu()) {
      RunOnGpu(&CudaCrossEntropy, call, z.device());
    } else {
      CrossEntropy(call, RowOptions(*compute.kernels, z.size(1)));
    }
  };
  if (z.scalar_type() == at::kBFloat16) {
    loss(reinterpret_cast<Bf16*>(z.mutable_data_ptr<at::BFloat16>()));
  } else if (z.scalar_type() == at::kHalf) {
    loss(reinterpret_cast<Fp16*>(z.mutable_data_ptr<at::Half>()));
  } else {
    loss(z.mutable_data_ptr<float>());
  }
  return z;
}

// (N, 1): the targets as indices, with any token for those that are ignored.
struct Targets {
  explicit Targets(const at::Tensor& targets_N)
      : ignored(targets_N.eq(kIgnoredTarget).unsqueeze(1)),
        index(targets_N.unsqueeze(1).masked_fill(ignored, 0)) {}
  at::Tensor ignored, index;
};

}  // namespace

at::Tensor HeadLogits(const at::Tensor& hidden_NC, const Head& head, const Compute& compute) {
  return LogitsOf(hidden_NC, ForProduct(head, compute), compute);
}

at::Tensor HeadNll(const at::Tensor& hidden_NC, const Head& given, const at::Tensor& targets_N,
                   const Compute& compute) {
  const at::NoGradGuard no_grad;
  const Head head = ForProduct(given, compute);
  const std::int64_t n_rows = hidden_NC.size(0);
  at::Tensor nll_N = at::empty({n_rows}, hidden_NC.options().dtype(compute.dtype));
  const std::int64_t chunk = ChunkRows(n_rows, head, compute, HeadChunks::kByLogits);
  for (std::int64_t begin = 0; begin < n_rows; begin += chunk) {
    const std::int64_t n = std::min(chunk, n_rows - begin);
    if (HasKernels(compute)) {
      ChunkLoss(hidden_NC.narrow(0, begin, n), head, targets_N.narrow(0, begin, n), 1.0, false,
                compute, nll_N.narrow(0, begin, n));
      continue;
    }
    const at::Tensor z = LogitsOf(hidden_NC.narrow(0, begin, n), head, compute);
    const Targets target(targets_N.narrow(0, begin, n));
    const at::Tensor nll = at::logsumexp(z, 1, true) - z.gather(1, target.index);
    nll_N.narrow(0, begin, n).copy_(nll.masked_fill(target.ignored, 0.0).squeeze(1));
  }
  return nll_N;
}

HeadGradient HeadNllBackward(const at::Tensor& hidden_NC, const Head& given,
                             const at::Tensor& targets_N, double weight, const Compute& compute,
                             Head* head_gradient, GradientRoom* room) {
  const at::NoGradGuard no_grad;
  const Head head = ForProduct(given, compute);
  const std::int64_t n_rows = hidden_NC.size(0);
  HeadGradient result = {.nll_N = at::empty({n_rows}, hidden_NC.options().dtype(compute.dtype)),
                         .hidden_NC = at::empty_like(hidden_NC)};
  const std::int64_t chunk = ChunkRows(n_rows, head, compute, compute.head_chunks);
  for (std::int64_t begin = 0; begin < n_rows; begin += chunk) {
    const std::int64_t n = std::min(chunk, n_rows - begin);
    const at::Tensor hidden = hidden_NC.narrow(0, begin, n).to(compute.product);
    const at::Tensor targets = targets_N.narrow(0, begin, n);
    const at::Tensor nll = result.nll_N.narrow(0, begin, n);
    at::Tensor dz;
    if (HasKernels(compute)) {
      dz = ChunkLoss(hidden, head, targets, weight, true, compute, nll);
    } else {
      const at::Tensor z = LogitsOf(hidden, head, compute);
      const Targets target(targets);
      const at::Tensor lse = at::logsumexp(z, 1, true);
      nll.copy_((lse - z.gather(1, target.index)).masked_fill(target.ignored, 0.0).squeeze(1));
      dz = z.sub_(lse).exp_();
      dz.scatter_add_(1, target.index, at::full({n, 1}, -1.0, dz.options()));
      dz = dz.masked_fill_(target.ignored, 0.0).mul_(weight);
    }
    if (head.bias_V.defined()) head_gradient->bias_V.add_(dz.sum(0));
    dz = dz.to(compute.product);
    result.hidden_NC.narrow(0, begin, n).copy_(MatrixProduct(dz, head.weight_VC, compute.path));
    AddWeightGradient(dz, hidden, compute.path, given.weight_VC.scalar_type(),
                      &head_gradient->weight_VC, room);
  }
  return result;
}

}  // namespace longrun
