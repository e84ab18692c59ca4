// KERPLE: a kernel of the distance with learned strength and width. Chi et al. 2022
// (arXiv:2205.09921), section 4; chijames/KERPLE, megatron/mpu/layers.py.
//
//   log:    s[i][j] = <q_i, k_j> / sqrt(head_dim) - p_h ln(1 + a_h |i - j|)
//       p ~ U(0, 2), a ~ U(0, 1)
//   power:  s[i][j] = <q_i, k_j> / sqrt(head_dim) - a_h |i - j|^p_h
//       a ~ U(0, 1), p ~ U(0, 2)
//
// As in the official code, the parameters themselves are clamped before every forward pass: p,
// a >= 0.01, and p <= 2 for power; the gradient is that at the clamped value. Power with ALiBi's
// slopes and p = 1 is ALiBi. (The official model shares one pair of vectors among all
// layers: share_layers.)
#include <cmath>

#include "model/position/method.h"

namespace longrun {
namespace {

constexpr double kLeast = 0.01;

// The value for one head and distance, with its derivatives by p and a.
struct Kernel {
  double value = 0.0, by_p = 0.0, by_a = 0.0;
};

Kernel Log(double p, double a, double distance) {
  const double grown = 1.0 + a * distance;
  return {.value = -p * std::log(grown), .by_p = -std::log(grown), .by_a = -p * distance / grown};
}

Kernel Power(double p, double a, double distance) {
  if (distance == 0.0) return {};  // 0^p = 0, and the limit of 0^p ln 0 is 0
  const double grown = std::pow(distance, p);
  return {.value = -a * grown, .by_p = -a * grown * std::log(distance), .by_a = -grown};
}

using KernelFunction = Kernel (*)(double, double, double);

double Distance(std::int64_t begin, std::size_t k) {
  return std::abs(static_cast<double>(begin) + static_cast<double>(k));
}

DistanceBias BiasOf(bool power, std::size_t n_head) {
  const KernelFunction kernel = power ? &Power : &Log;
  return {
      .learned = {"p", "a"},
      .forward =
          [=](const DistanceBias::Tensors& learned, std::int64_t begin, std::span<double> bias) {
            const std::size_t n = bias.size() / n_head;
            for (std::size_t h = 0; h < n_head; ++h) {
              for (std::size_t k = 0; k < n; ++k) {
                bias[h * n + k] = kernel(learned[0][h], learned[1][h], Distance(begin, k)).value;
              }
            }
          },
      .backward =
          [=](const DistanceBias::Tensors& learned, std::int64_t begin,
              std::span<const double> d_bias, const DistanceBias::Gradients& d_learned) {
            const std::size_t n = d_bias.size() / n_head;
            for (std::size_t h = 0; h < n_head; ++h) {
              for (std::size_t k = 0; k < n; ++k) {
                const Kernel at = kernel(learned[0][h], learned[1][h], Distance(begin, k));
                d_learned[0][h] += d_bias[h * n + k] * at.by_p;
                d_learned[1][h] += d_bias[h * n + k] * at.by_a;
              }
            }
          },
      .form = DistanceForm{.kind = power ? DistanceForm::Kind::kPower : DistanceForm::Kind::kLog}};
}

ParamResult<TermSpec> KerpleTerms(const Json& params, const AttentionShape& shape) {
  const bool power = params.at("variant") == "power";
  LearnedTensor p = {
      .name = "p", .shape = {shape.n_head}, .init = {.low = 0.0, .high = 2.0}, .min = kLeast};
  if (power) p.max = 2.0;
  return TermSpec{
      .scale = 1.0 / std::sqrt(static_cast<double>(shape.head_dim)),
      .distance_bias = BiasOf(power, static_cast<std::size_t>(shape.n_head)),
      .learned = {std::move(p),
                  {.name = "a",
                   .shape = {shape.n_head},
                   .init = {.low = 0.0, .high = 1.0},
                   .min = kLeast}},
      .share_layers = params.at("share_layers").get<bool>(),
  };
}

}  // namespace

const PositionMethod& KerpleMethod() {
  static const PositionMethod method = {
      .name = "kerple",
      .source = "arXiv:2205.09921, section 4",
      .beyond = "works; with the log kernel perplexity stays flat",
      .params = {{.name = "variant",
                  .type = PositionParam::Type::kChoice,
                  .default_value = "log",
                  .choices = {"log", "power"},
                  .meaning = "the bias; log: -p ln(1 + a |i - j|); power: -a |i - j|^p"},
                 {.name = "share_layers",
                  .type = PositionParam::Type::kBool,
                  .default_value = false,
                  .meaning = "one p and a for all layers, as in the official code"}},
      .terms = &KerpleTerms,
  };
  return method;
}

}  // namespace longrun
