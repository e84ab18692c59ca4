#include "kernels/reference/rows.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "base/check.h"
#include "kernels/cross_entropy.h"

namespace longrun {
namespace {

std::size_t Size(std::int64_t n) { return static_cast<std::size_t>(n); }

double Sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

constexpr double kGeluCubic = 0.044715;
double GeluArgument(double x) {
  return std::sqrt(2.0 / std::numbers::pi) * (x + kGeluCubic * x * x * x);
}

double Mean(DoubleSpan x) {
  double sum = 0.0;
  for (const double one : x) sum += one;
  return sum / static_cast<double>(x.size());
}

}  // namespace

ReferenceNorm ReferenceNormForward(const NormShape& shape, DoubleSpan x, DoubleSpan addend,
                                   DoubleSpan gamma, DoubleSpan beta) {
  const std::size_t n = Size(shape.n_channel);
  LR_CHECK(x.size() == Size(shape.n_row) * n && gamma.size() == n);
  LR_CHECK(addend.empty() || addend.size() == x.size());
  LR_CHECK(beta.empty() || beta.size() == n);
  ReferenceNorm out = {.sum = Doubles(x.begin(), x.end()), .y = Doubles(x.size())};
  for (std::size_t i = 0; i < addend.size(); ++i) out.sum[i] += addend[i];
  for (std::size_t row = 0; row < Size(shape.n_row); ++row) {
    const DoubleSpan s = DoubleSpan(out.sum).subspan(row * n, n);
    const double mean = shape.centred ? Mean(s) : 0.0;
    double squares = 0.0;
    for (const double one : s) squares += (one - mean) * (one - mean);
    const double rstd = 1.0 / std::sqrt(squares / static_cast<double>(n) + shape.epsilon);
    for (std::size_t c = 0; c < n; ++c) {
      out.y[row * n + c] = (s[c] - mean) * rstd * gamma[c] + (beta.empty() ? 0.0 : beta[c]);
    }
    out.mean.push_back(mean);
    out.rstd.push_back(rstd);
  }
  return out;
}

ReferenceNormGradient ReferenceNormBackward(const NormShape& shape, DoubleSpan sum,
                                            DoubleSpan gamma, DoubleSpan dy, DoubleSpan d_sum) {
  const std::size_t n = Size(shape.n_channel);
  LR_CHECK(dy.size() == sum.size() && (d_sum.empty() || d_sum.size() == sum.size()));
  const ReferenceNorm forward = ReferenceNormForward(shape, sum, {}, gamma, {});
  ReferenceNormGradient gradient = {
      .x = Doubles(sum.size()), .gamma = Doubles(n), .beta = Doubles(n)};
  for (std::size_t row = 0; row < Size(shape.n_row); ++row) {
    Doubles normed(n), g(n), gn(n);
    for (std::size_t c = 0; c < n; ++c) {
      const std::size_t at = row * n + c;
      normed[c] = (sum[at] - forward.mean[row]) * forward.rstd[row];
      g[c] = dy[at] * gamma[c];
      gn[c] = g[c] * normed[c];
      gradient.gamma[c] += dy[at] * normed[c];
      gradient.beta[c] += dy[at];
    }
    const double mean_g = shape.centred ? Mean(g) : 0.0, mean_gn = Mean(gn);
    for (std::size_t c = 0; c < n; ++c) {
      gradient.x[row * n + c] = (d_sum.empty() ? 0.0 : d_sum[row * n + c]) +
                                forward.rstd[row] * (g[c] - mean_g - normed[c] * mean_gn);
    }
  }
  return gradient;
}

double ReferenceActivation(Activation activation, double x) {
  switch (activation) {
    case Activation::kGeluNew:
      return 0.5 * x * (1.0 + std::tanh(GeluArgument(x)));
    case Activation::kGelu:
      return 0.5 * x * std::erfc(-x / std::numbers::sqrt2);
    case Activation::kSilu:
      return x * Sigmoid(x);
  }
  LR_CHECK(false);
}

double ReferenceActivationSlope(Activation activation, double x) {
  switch (activation) {
    case Activation::kGeluNew: {
      const double t = std::tanh(GeluArgument(x));
      const double slope = std::sqrt(2.0 / std::numbers::pi) * (1.0 + 3.0 * kGeluCubic * x * x);
      return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * slope;
    }
    case Activation::kGelu:
      return 0.5 * std::erfc(-x / std::numbers::sqrt2) +
             x * std::exp(-0.5 * x * x) / std::sqrt(2.0 * std::numbers::pi);
    case Activation::kSilu: {
      const double s = Sigmoid(x);
      return s + x * s * (1.0 - s);
    }
  }
  LR_CHECK(false);
}

Doubles ReferenceActivationForward(const ActivationShape& shape, DoubleSpan h, DoubleSpan bias) {
  const std::size_t n = Size(shape.n_channel);
  LR_CHECK(h.size() == Size(shape.n_row) * n && (bias.empty() || bias.size() == n));
  Doubles y(h.size());
  for (std::size_t i = 0; i < y.size(); ++i) {
    y[i] = ReferenceActivation(shape.activation, h[i] + (bias.empty() ? 0.0 : bias[i % n]));
  }
  return y;
}

ReferenceActivationGradient ReferenceActivationBackward(const ActivationShape& shape, DoubleSpan h,
                                                        DoubleSpan bias, DoubleSpan dy) {
  const std::size_t n = Size(shape.n_channel);
  LR_CHECK(h.size() == Size(shape.n_row) * n && dy.size() == h.size());
  LR_CHECK(bias.empty() || bias.size() == n);
  ReferenceActivationGradient gradient = {.h = Doubles(h.size()), .bias = Doubles(n)};
  for (std::size_t i = 0; i < h.size(); ++i) {
    const double x = h[i] + (bias.empty() ? 0.0 : bias[i % n]);
    gradient.h[i] = dy[i] * ReferenceActivationSlope(shape.activation, x);
    gradient.bias[i % n] += gradient.h[i];
  }
  return gradient;
}

Doubles ReferenceGatedForward(const ActivationShape& shape, DoubleSpan gate, DoubleSpan up) {
  LR_CHECK(gate.size() == Size(shape.n_row * shape.n_channel) && up.size() == gate.size());
  Doubles y(gate.size());
  for (std::size_t i = 0; i < y.size(); ++i) {
    y[i] = ReferenceActivation(shape.activation, gate[i]) * up[i];
  }
  return y;
}

ReferenceGatedGradient ReferenceGatedBackward(const ActivationShape& shape, DoubleSpan gate,
                                              DoubleSpan up, DoubleSpan dy) {
  LR_CHECK(gate.size() == Size(shape.n_row * shape.n_channel));
  LR_CHECK(up.size() == gate.size() && dy.size() == gate.size());
  ReferenceGatedGradient gradient = {.gate = Doubles(gate.size()), .up = Doubles(gate.size())};
  for (std::size_t i = 0; i < gate.size(); ++i) {
    gradient.gate[i] = dy[i] * up[i] * ReferenceActivationSlope(shape.activation, gate[i]);
    gradient.up[i] = dy[i] * ReferenceActivation(shape.activation, gate[i]);
  }
  return gradient;
}

double ReferenceGlobalNorm(DoubleSpan gradient) {
  double squares = 0.0;
  for (const double g : gradient) squares += g * g;
  return std::sqrt(squares);
}

void ReferenceAdamWUpdate(const AdamWStep& step, double weight_decay, DoubleSpan gradient,
                          ReferenceAdamWState& state) {
  LR_CHECK(state.parameter.size() == gradient.size() && state.m.size() == gradient.size() &&
           state.v.size() == gradient.size());
  const auto t = static_cast<double>(step.t);
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    const double g = step.clip * gradient[i];
    state.m[i] = step.beta1 * state.m[i] + (1.0 - step.beta1) * g;
    state.v[i] = step.beta2 * state.v[i] + (1.0 - step.beta2) * g * g;
    const double m = state.m[i] / (1.0 - std::pow(step.beta1, t));
    const double v = state.v[i] / (1.0 - std::pow(step.beta2, t));
    state.parameter[i] -= step.lr * weight_decay * state.parameter[i];
    state.parameter[i] -= step.lr * m / (std::sqrt(v) + step.eps);
  }
}

ReferenceLoss ReferenceCrossEntropy(std::int64_t n_vocab, DoubleSpan logits,
                                    std::span<const std::int64_t> targets, double weight) {
  const std::size_t n = Size(n_vocab);
  LR_CHECK(logits.size() == targets.size() * n);
  ReferenceLoss loss = {.d_logits = Doubles(logits.size())};
  for (std::size_t row = 0; row < targets.size(); ++row) {
    const DoubleSpan z = logits.subspan(row * n, n);
    double largest = -std::numeric_limits<double>::infinity();
    for (const double one : z) largest = std::max(largest, one);
    double sum = 0.0;
    for (const double one : z) sum += std::exp(one - largest);
    const double lse = largest + std::log(sum);
    const bool ignored = targets[row] == kIgnoredTarget;
    loss.lse.push_back(lse);
    loss.nll.push_back(ignored ? 0.0 : lse - z[Size(targets[row])]);
    for (std::size_t v = 0; v < n && !ignored; ++v) {
      const double hit = v == Size(targets[row]) ? 1.0 : 0.0;
      loss.d_logits[row * n + v] = weight * (std::exp(z[v] - lse) - hit);
    }
  }
  return loss;
}

Doubles ReferenceEmbeddingGradient(std::int64_t n_vocab, std::int64_t n_channel,
                                   std::span<const std::int64_t> ids, DoubleSpan dy,
                                   std::int64_t padding_id) {
  const std::size_t n = Size(n_channel);
  LR_CHECK(dy.size() == ids.size() * n);
  Doubles gradient(Size(n_vocab) * n);
  for (std::size_t row = 0; row < ids.size(); ++row) {
    if (ids[row] == padding_id) continue;
    for (std::size_t c = 0; c < n; ++c) gradient[Size(ids[row]) * n + c] += dy[row * n + c];
  }
  return gradient;
}

}  // namespace longrun
