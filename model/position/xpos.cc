// xPos: rotary positions whose channels decay with the distance. Sun et al. 2023
// (arXiv:2212.10554), section 3; torchscale, xpos_relative_position.py.
//
//   s[i][j] = sum over pairs c of zeta_c^((i - j) / scale_base) <R_i q_i, R_j
//   k_j>_c / sqrt(head_dim)
//   zeta_c = (2c + 0.4 d) / (1.4 d),   c = 0 .. d/2 - 1;   the rotation is RoPE's, interleaved
//
// q is multiplied by zeta^(n / scale_base) and k by its inverse, with n counted from the middle of
// the sequence (it cancels). Both exceed fp32 near 128 scale_base tokens: longer sequences are
// refused. For j > i the factor would grow without bound: causal only.
#include <algorithm>
#include <cmath>

#include "base/str.h"
#include "model/position/even_head.h"
#include "model/position/method.h"

namespace longrun {
namespace {

constexpr double kBase = 10000.0;
// e^80 is 5e34: a query's or key's own size still fits in an fp32.
constexpr double kExponentMax = 80.0;

ParamResult<TermSpec> XposTerms(const Json& params, const AttentionShape& shape) {
  if (const auto refusal = NeedsCausal("xpos", shape)) return *refusal;
  if (const auto refusal = NeedsEvenHead("xpos", shape)) return *refusal;
  const double scale_base = params.at("scale_base").get<double>();
  const double d = static_cast<double>(shape.head_dim);
  Rotation rotation = {.layout = Rotation::Layout::kInterleaved};
  for (std::int64_t c = 0; c < shape.head_dim / 2; ++c) {
    const double pair = 2.0 * static_cast<double>(c);
    rotation.frequency.push_back(std::pow(kBase, -pair / d));
    rotation.growth.push_back(std::log((pair + 0.4 * d) / (1.4 * d)) / scale_base);
  }
  // Half of the sequence is on either side of the middle; the first pair decays fastest.
  const double length_max = 2.0 * kExponentMax / -rotation.growth.front();
  return TermSpec{.scale = 1.0 / std::sqrt(d),
                  .rotation = std::move(rotation),
                  .length_max = static_cast<std::int64_t>(std::min(length_max, 1e12))};
}

}  // namespace

const PositionMethod& XposMethod() {
  static const PositionMethod method = {
      .name = "xpos",
      .source = "arXiv:2212.10554, section 3",
      .beyond = "works; perplexity rises, but less than with rope",
      .params = {{.name = "scale_base",
                  .type = PositionParam::Type::kNumber,
                  .default_value = 512.0,
                  .min = 1.0,
                  .max = 1e9,
                  .meaning = "distance, in tokens, over which each pair of channels decays by its "
                             "factor zeta (section 3 of the paper)"}},
      .terms = &XposTerms,
  };
  return method;
}

}  // namespace longrun
