// Root: a bias that falls with the root of the distance.
//
//   s[i][j] = <q_i, k_j> / sqrt(head_dim) - w_h sqrt(|i - j|),   w starts as 1
#include <cmath>

#include "model/position/method.h"

namespace longrun {
namespace {

double Root(std::int64_t begin, std::size_t k) {
  return std::sqrt(std::abs(static_cast<double>(begin) + static_cast<double>(k)));
}

ParamResult<TermSpec> RootTerms(const Json& /*params*/, const AttentionShape& shape) {
  const auto n_head = static_cast<std::size_t>(shape.n_head);
  return TermSpec{
      .scale = 1.0 / std::sqrt(static_cast<double>(shape.head_dim)),
      .distance_bias = DistanceBias{
          .learned = {"w"},
          // bias[h * n + k] of the distance begin + k; learned[0] is w.
          .forward =
              [=](const DistanceBias::Tensors& learned, std::int64_t begin,
                  std::span<double> bias) {
                const std::size_t n = bias.size() / n_head;
                for (std::size_t h = 0; h < n_head; ++h) {
                  for (std::size_t k = 0; k < n; ++k) {
                    bias[h * n + k] = -learned[0][h] * Root(begin, k);
                  }
                }
              },
          // Adds dL/dw, given dL/dbias.
          .backward =
              [=](const DistanceBias::Tensors& /*learned*/, std::int64_t begin,
                  std::span<const double> d_bias, const DistanceBias::Gradients& d_learned) {
                const std::size_t n = d_bias.size() / n_head;
                for (std::size_t h = 0; h < n_head; ++h) {
                  for (std::size_t k = 0; k < n; ++k) {
                    d_learned[0][h] -= d_bias[h * n + k] * Root(begin, k);
                  }
                }
              }},
      .learned = {{.name = "w", .shape = {shape.n_head}, .init = {.mean = 1.0}}},
  };
}

}  // namespace

const PositionMethod& RootMethod() {
  static const PositionMethod method = {
      .name = "root",
      .source = "this page",
      .beyond = "defined",
      .terms = &RootTerms,
  };
  return method;
}

}  // namespace longrun
