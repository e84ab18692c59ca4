#include "kernels/cuda_row_calls.h"

#include "base/check.h"

namespace longrun {
namespace {

// The plug-in counts channels, and keys, in 32 bits.
constexpr std::int64_t kChannelsMax = std::int64_t{1} << 28;
constexpr std::int64_t kKeysMax = std::int64_t{1} << 30;

void CheckSizes(std::int64_t n_row, std::int64_t n_channel) {
  LR_CHECK(n_row >= 0 && n_channel > 0 && n_channel <= kChannelsMax);
}

// The C interface says of outputs only that they are written.
LongrunElements Of(const ConstElements& x) {
  return {const_cast<void*>(x.as<void>()), static_cast<std::int32_t>(x.type())};
}
LongrunElements Of(const Elements& x) {
  return {x.as<void>(), static_cast<std::int32_t>(x.type())};
}

// All of one type, and none null, unless there are no rows.
template <typename First, typename... Others>
void CheckElements(std::int64_t n_row, const First& first, const Others&... others) {
  LR_CHECK(((others.type() == first.type()) && ...));
  if (n_row > 0) LR_CHECK(!first.is_null() && (!others.is_null() && ...));
}

LongrunNormShape Of(const NormShape& shape) {
  CheckSizes(shape.n_row, shape.n_channel);
  LR_CHECK(shape.epsilon >= 0.0);
  return {shape.n_row, shape.n_channel, shape.centred ? 1 : 0, shape.epsilon};
}
LongrunActivationShape Of(const ActivationShape& shape) {
  CheckSizes(shape.n_row, shape.n_channel);
  return {shape.n_row, shape.n_channel, static_cast<std::int32_t>(shape.activation)};
}
LongrunKeyBiasShape Of(const KeyBiasShape& shape) {
  LR_CHECK(shape.batch >= 0 && shape.n_head >= 0 && shape.n_key >= 0);
  LR_CHECK(shape.n_head <= kChannelsMax && shape.n_key <= kKeysMax);
  return {shape.batch, shape.n_head, shape.n_key, shape.log_sigmoid ? 1 : 0};
}
bool HasWork(const KeyBiasShape& shape) {
  return shape.batch > 0 && shape.n_head > 0 && shape.n_key > 0;
}

}  // namespace

LongrunRowOptions ToPlugin(const CudaRowOptions& options) {
  const WorkingMemory& memory = options.working_memory;
  LR_CHECK(memory.allocate != nullptr && memory.release != nullptr);
  return {.memory = {static_cast<std::int32_t>(options.memory.kind), options.memory.ordinal},
          .stream = options.stream,
          .allocate_context = memory.context,
          .allocate = memory.allocate,
          .release = memory.release};
}

LongrunNormForwardCall ToPlugin(const NormForwardCall& call) {
  LR_CHECK(call.shape.centred || call.mean == nullptr);
  if (call.shape.n_row > 0) {
    LR_CHECK(call.gamma != nullptr && (call.shape.centred == (call.mean != nullptr)));
    LR_CHECK(call.addend.is_null() == (call.sum == nullptr));
    LR_CHECK(MayMeet(call.addend, call.y));
    LR_CHECK(call.x != nullptr && !call.y.is_null() && call.rstd != nullptr);
  }
  return {.shape = Of(call.shape),
          .x = call.x,
          .addend = Of(call.addend),
          .gamma = call.gamma,
          .beta = call.beta,
          .sum = call.sum,
          .y = Of(call.y),
          .mean = call.mean,
          .rstd = call.rstd};
}

LongrunNormBackwardCall ToPlugin(const NormBackwardCall& call) {
  LR_CHECK(call.d_gamma != nullptr || call.d_beta == nullptr);
  if (call.shape.n_row > 0) {
    LR_CHECK(call.gamma != nullptr && (!call.shape.centred || call.mean != nullptr));
    LR_CHECK(!call.dy.is_null() && call.sum != nullptr && call.rstd != nullptr);
    LR_CHECK(call.dx != nullptr);
  }
  return {.shape = Of(call.shape),
          .dy = Of(call.dy),
          .sum = call.sum,
          .gamma = call.gamma,
          .mean = call.mean,
          .rstd = call.rstd,
          .d_sum = call.d_sum,
          .dx = call.dx,
          .d_addend = call.d_addend,
          .d_gamma = call.d_gamma,
          .d_beta = call.d_beta};
}

LongrunActivationForwardCall ToPlugin(const ActivationForwardCall& call) {
  CheckElements(call.shape.n_row, call.h, call.y);
  return {.shape = Of(call.shape), .h = Of(call.h), .up = {}, .bias = call.bias, .y = Of(call.y)};
}

LongrunActivationBackwardCall ToPlugin(const ActivationBackwardCall& call) {
  CheckElements(call.shape.n_row, call.h, call.dy, call.dh);
  return {.shape = Of(call.shape),
          .h = Of(call.h),
          .up = {},
          .bias = call.bias,
          .dy = Of(call.dy),
          .dh = Of(call.dh),
          .d_up = {},
          .d_bias = call.d_bias};
}

LongrunActivationForwardCall ToPlugin(const GatedForwardCall& call) {
  CheckElements(call.shape.n_row, call.gate, call.up, call.y);
  return {.shape = Of(call.shape),
          .h = Of(call.gate),
          .up = Of(call.up),
          .bias = nullptr,
          .y = Of(call.y)};
}

LongrunActivationBackwardCall ToPlugin(const GatedBackwardCall& call) {
  CheckElements(call.shape.n_row, call.gate, call.up, call.dy, call.d_gate, call.d_up);
  return {.shape = Of(call.shape),
          .h = Of(call.gate),
          .up = Of(call.up),
          .bias = nullptr,
          .dy = Of(call.dy),
          .dh = Of(call.d_gate),
          .d_up = Of(call.d_up),
          .d_bias = nullptr};
}

LongrunCrossEntropyCall ToPlugin(const CrossEntropyCall& call) {
  CheckSizes(call.n_row, call.n_vocab);
  if (call.n_row > 0) {
    LR_CHECK(!call.logits.is_null() && call.targets != nullptr && call.nll != nullptr);
  }
  LR_CHECK(call.d_logits.is_null() || call.d_logits.type() == call.logits.type());
  return {.n_row = call.n_row,
          .n_vocab = call.n_vocab,
          .logits = Of(call.logits),
          .targets = call.targets,
          .nll = call.nll,
          .lse = call.lse,
          .d_logits = Of(call.d_logits),
          .weight = call.weight};
}

LongrunColumnSumCall ToPlugin(const ColumnSumCall& call) {
  CheckSizes(call.n_row, call.n_channel);
  LR_CHECK(call.total != nullptr && (call.n_row == 0 || !call.x.is_null()));
  return {call.n_row, call.n_channel, Of(call.x), call.total};
}

LongrunKeyBiasForwardCall ToPlugin(const KeyBiasForwardCall& call) {
  if (HasWork(call.shape)) {
    LR_CHECK(call.a != nullptr && (call.local == nullptr) == (call.anchor == nullptr));
    LR_CHECK((call.r == nullptr) != (call.local == nullptr));
  }
  return {.shape = Of(call.shape),
          .a = call.a,
          .before = call.before,
          .r = call.r,
          .local = call.local,
          .anchor = call.anchor,
          .negated = call.negated ? 1 : 0};
}

LongrunKeyBiasBackwardCall ToPlugin(const KeyBiasBackwardCall& call) {
  if (HasWork(call.shape)) {
    LR_CHECK(call.a != nullptr && call.dr != nullptr && call.da != nullptr);
  }
  return {.shape = Of(call.shape),
          .a = call.a,
          .dr = call.dr,
          .da = call.da,
          .negated = call.negated ? 1 : 0};
}

std::vector<LongrunAdamWVector> AdamWVectors(std::span<const AdamWTensor> tensors) {
  std::vector<LongrunAdamWVector> vectors;
  vectors.reserve(tensors.size());
  for (const AdamWTensor& tensor : tensors) {
    if (tensor.n == 0) continue;
    LR_CHECK(tensor.n > 0 && tensor.gradient != nullptr && tensor.parameter != nullptr);
    LR_CHECK(tensor.m != nullptr && tensor.v != nullptr);
    vectors.push_back({.gradient = tensor.gradient,
                       .parameter = tensor.parameter,
                       .m = tensor.m,
                       .v = tensor.v,
                       .copy = tensor.copy,
                       .n = tensor.n,
                       .weight_decay = static_cast<float>(tensor.weight_decay)});
  }
  return vectors;
}

LongrunAdamWCall ToPlugin(const CudaAdamWCall& call, std::span<const LongrunAdamWVector> vectors) {
  LR_CHECK(call.t != nullptr && call.lr != nullptr);
  LR_CHECK(call.n_result >= 0 && call.n_result <= kChannelsMax);
  LR_CHECK(call.n_result == 0 || call.results != nullptr);
  return {.vectors = vectors.data(),
          .n_vector = static_cast<std::int64_t>(vectors.size()),
          .beta1 = static_cast<float>(call.beta1),
          .beta2 = static_cast<float>(call.beta2),
          .eps = static_cast<float>(call.eps),
          .t = call.t,
          .lr = call.lr,
          .clip = call.clip,
          .results = call.results,
          .n_result = call.n_result};
}

}  // namespace longrun
