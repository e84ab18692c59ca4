#include "kernels/reference/kernel.h"

#include <algorithm>
#include <vector>

#include "kernels/attention_check.h"
#include "kernels/reference/attention.h"
#include "kernels/scalar.h"

namespace longrun {
namespace {

// Visits (B, T, H, D) with any strides in the order of the loops' dense (B, H, T, D).
template <typename Pointer, typename Visit>
void ForEachElement(const HeadsViewOf<Pointer>& x, Visit&& visit) {
  std::size_t dense = 0;
  for (std::int64_t b = 0; b < x.batch; ++b) {
    for (std::int64_t h = 0; h < x.n_head; ++h) {
      for (std::int64_t t = 0; t < x.n_row; ++t) {
        const std::int64_t row = b * x.batch_step + h * x.head_step + t * x.row_step;
        for (std::int64_t c = 0; c < x.head_dim; ++c) visit(dense++, row + c);
      }
    }
  }
}

std::vector<double> Read(const HeadsView& x) {
  std::vector<double> dense(static_cast<std::size_t>(x.batch * x.n_head * x.n_row * x.head_dim));
  ForEachElement(
      x, [&](std::size_t i, std::int64_t at) { dense[i] = LoadScalar(x.scalar, x.data, at); });
  return dense;
}

void Write(const std::vector<double>& dense, const HeadsBuffer& x) {
  ForEachElement(
      x, [&](std::size_t i, std::int64_t at) { StoreScalar(x.scalar, x.data, at, dense[i]); });
}

void WriteNumbers(const std::vector<double>& from, const NumbersBuffer& to) {
  for (std::size_t i = 0; i < from.size(); ++i) {
    StoreScalar(to.scalar, to.data, static_cast<std::int64_t>(i), from[i]);
  }
}

std::vector<double> ReadNumbers(const NumbersView& x) {
  std::vector<double> numbers(static_cast<std::size_t>(x.n));
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = LoadScalar(x.scalar, x.data, static_cast<std::int64_t>(i));
  }
  return numbers;
}

struct Dense {
  explicit Dense(const AttentionInputs& in)
      : q(Read(in.q)),
        k(Read(in.k)),
        v(Read(in.v)),
        size{.batch = in.q.batch,
             .n_head = in.q.n_head,
             .n_kv_head = in.k.n_head,
             .n_query = in.q.n_row,
             .n_key = in.k.n_row,
             .head_dim = in.q.head_dim} {}
  AttentionInput Input() const { return {.size = size, .q = q, .k = k, .v = v}; }

  std::vector<double> q, k, v;
  AttentionSize size;
};

Status Forward(const AttentionForwardCall& call, const AttentionTerms& terms,
               const AttentionKernelOptions& options) {
  RETURN_IF_ERROR(CheckAttentionCall(call, terms, options));
  const AttentionOutput out = ReferenceAttentionForward(Dense(call.inputs).Input(), terms);
  Write(out.o, call.o);
  WriteNumbers(out.lse, call.lse);
  std::ranges::fill(call.first_key, 0);  // no key is left out
  if (call.n_tiles != nullptr) *call.n_tiles = 0;
  return {};
}

void CopyAsked(const std::vector<double>& from, const NumbersBuffer& to) {
  if (!to.empty()) WriteNumbers(from, to);
}

template <GradientSums kSums>
Status Backward(const AttentionBackwardCall& call, const AttentionTerms& terms,
                const AttentionKernelOptions& options) {
  RETURN_IF_ERROR(CheckAttentionCall(call, terms, options));
  const std::vector<double> o_gradient = Read(call.do_);
  const std::vector<double> o = Read(call.o);
  const AttentionGradient gradient = ReferenceAttentionBackward(
      Dense(call.inputs).Input(), terms, o_gradient, o, ReadNumbers(call.lse), kSums);
  Write(gradient.q, call.dq);
  Write(gradient.k, call.dk);
  Write(gradient.v, call.dv);
  CopyAsked(gradient.key_bias, call.d_key_bias);
  CopyAsked(gradient.distance_table, call.d_distance_table);
  CopyAsked(gradient.slope, call.d_slope);
  CopyAsked(gradient.intercept, call.d_intercept);
  CopyAsked(gradient.psi, call.d_psi);
  CopyAsked(gradient.row_factor, call.d_row_factor);
  return {};
}

}  // namespace

constinit const AttentionKernel kReferenceAttention = {
    .name = "reference", .forward = &Forward, .backward = &Backward<GradientSums::kSigned>};
constinit const AttentionKernel kReferenceMagnitudes = {
    .name = "reference/magnitudes",
    .forward = &Forward,
    .backward = &Backward<GradientSums::kMagnitudes>};

}  // namespace longrun
