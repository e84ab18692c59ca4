// The kernels over rows as plain loops in double: the reference for the fused ones. kernels/norm.h,
// activation.h, adamw.h, cross_entropy.h and embedding.h have the formulas, shapes and names; an
// absent argument is an empty span.
//
// Errors: a size that does not fit its span is a bug of the caller (LR_CHECK)
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/activation.h"
#include "kernels/adamw.h"
#include "kernels/norm.h"

namespace longrun {

using Doubles = std::vector<double>;
using DoubleSpan = std::span<const double>;

struct ReferenceNorm {
  Doubles sum = {}, y = {}, mean = {}, rstd = {};
};
ReferenceNorm ReferenceNormForward(const NormShape& shape, DoubleSpan x, DoubleSpan addend,
                                   DoubleSpan gamma, DoubleSpan beta);

struct ReferenceNormGradient {
  Doubles x = {}, gamma = {}, beta = {};
};
// The gradient of sum(dy y) + sum(d_sum s).
ReferenceNormGradient ReferenceNormBackward(const NormShape& shape, DoubleSpan sum,
                                            DoubleSpan gamma, DoubleSpan dy, DoubleSpan d_sum);

// f and f' at x.
double ReferenceActivation(Activation activation, double x);
double ReferenceActivationSlope(Activation activation, double x);

Doubles ReferenceActivationForward(const ActivationShape& shape, DoubleSpan h, DoubleSpan bias);
struct ReferenceActivationGradient {
  Doubles h = {}, bias = {};
};
ReferenceActivationGradient ReferenceActivationBackward(const ActivationShape& shape, DoubleSpan h,
                                                        DoubleSpan bias, DoubleSpan dy);

Doubles ReferenceGatedForward(const ActivationShape& shape, DoubleSpan gate, DoubleSpan up);
struct ReferenceGatedGradient {
  Doubles gate = {}, up = {};
};
ReferenceGatedGradient ReferenceGatedBackward(const ActivationShape& shape, DoubleSpan gate,
                                              DoubleSpan up, DoubleSpan dy);

double ReferenceGlobalNorm(DoubleSpan gradient);
struct ReferenceAdamWState {
  Doubles parameter = {}, m = {}, v = {};
};
void ReferenceAdamWUpdate(const AdamWStep& step, double weight_decay, DoubleSpan gradient,
                          ReferenceAdamWState& state);

struct ReferenceLoss {
  Doubles nll = {}, lse = {}, d_logits = {};
};
ReferenceLoss ReferenceCrossEntropy(std::int64_t n_vocab, DoubleSpan logits,
                                    std::span<const std::int64_t> targets, double weight);

// dW, (V, C), added to zeros.
Doubles ReferenceEmbeddingGradient(std::int64_t n_vocab, std::int64_t n_channel,
                                   std::span<const std::int64_t> ids, DoubleSpan dy,
                                   std::int64_t padding_id);

}  // namespace longrun
