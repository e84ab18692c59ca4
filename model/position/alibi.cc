// ALiBi: attention with linear biases. Press, Smith, Lewis 2022 (arXiv:2108.12409), section 3.
//
//   press:      s[i][j] = <q_i, k_j> / sqrt(head_dim) - m_h (i - j),   j <= i
//   symmetric:  s[i][j] = <q_i, k_j> / sqrt(head_dim) - m_h |i - j|,   every j
//   jaketae:    s[i][j] = <q_i, k_j> / sqrt(d_model)  - m_h (i - j),   with or without causal mask
//
// -m_h * i is the same for every key of query i and cancels in the softmax: +m_h * j remains, a
// bias per key. (jaketae is the repository jaketae/alibi as it runs: without the mask its bias
// rewards later keys, and its slopes are geometric for every number of heads.)
//
// Slopes, h = 0 .. H-1:
//   geometric:      m_h = 2^(-8 (h+1) / H)
//   nearest_power:  the same where H is a power of two. Otherwise, as the paper's code does, the
//                   slopes of the power of two below, then every second slope of the one above (so
//                   the list is not sorted); the published numbers rest on it.
#include <bit>
#include <cmath>

#include "base/str.h"
#include "model/position/method.h"

namespace longrun {
namespace {

std::vector<double> GeometricSlopes(std::uint64_t n_head) {
  std::vector<double> slopes;
  for (std::uint64_t h = 0; h < n_head; ++h) {
    slopes.push_back(std::exp2(-8.0 * static_cast<double>(h + 1) / static_cast<double>(n_head)));
  }
  return slopes;
}

std::vector<double> NearestPowerSlopes(std::uint64_t n_head) {
  const std::uint64_t n_below = std::bit_floor(n_head);
  std::vector<double> slopes = GeometricSlopes(n_below);
  const std::vector<double> above = GeometricSlopes(2 * n_below);
  for (std::size_t h = 0; slopes.size() < n_head; h += 2) slopes.push_back(above[h]);
  return slopes;
}

ParamResult<TermSpec> AlibiTerms(const Json& params, const AttentionShape& shape) {
  const auto& variant = params.at("variant").get_ref<const std::string&>();
  if (variant == "press" && !shape.causal) {
    return ParamError{.key = "variant",
                      .message =
                          "\"press\" of method \"alibi\" needs model.causal: true; choose "
                          "\"symmetric\" for a model without a causal mask",
                      .others = {"model.causal"}};
  }
  if (variant == "symmetric" && shape.causal) {
    return ParamError{.key = "variant",
                      .message =
                          "\"symmetric\" of method \"alibi\" needs model.causal: false; "
                          "choose \"press\" for a causal model",
                      .others = {"model.causal"}};
  }
  const auto n_head = static_cast<std::uint64_t>(shape.n_head);
  const std::int64_t width = variant == "jaketae" ? shape.d_model : shape.head_dim;
  return TermSpec{
      .scale = 1.0 / std::sqrt(static_cast<double>(width)),
      .key_bias_slope =
          KeyBiasSlope{.slope = params.at("slopes") == "geometric" ? GeometricSlopes(n_head)
                                                                   : NearestPowerSlopes(n_head),
                       .two_sided = variant == "symmetric"},
  };
}

void AlibiRefineDefaults(const Json& given, Json& params) {
  if (params.at("variant") == "jaketae" && !given.contains("slopes")) {
    params["slopes"] = "geometric";
  }
}

}  // namespace

const PositionMethod& AlibiMethod() {
  static const PositionMethod method = {
      .name = "alibi",
      .source = "arXiv:2108.12409, section 3",
      .beyond = "works; perplexity stays flat or rises slowly",
      .params = {{.name = "variant",
                  .type = PositionParam::Type::kChoice,
                  .default_value = "press",
                  .choices = {"press", "symmetric", "jaketae"},
                  .meaning = "press: causal; symmetric: for encoders; jaketae: as in the "
                             "repository jaketae/alibi"},
                 {.name = "slopes",
                  .type = PositionParam::Type::kChoice,
                  .default_value = "nearest_power",
                  .choices = {"nearest_power", "geometric"},
                  .meaning = "rule for the slopes if n_head is not a power of two (default for "
                             "jaketae: geometric)"}},
      .refine_defaults = &AlibiRefineDefaults,
      .terms = &AlibiTerms,
  };
  return method;
}

}  // namespace longrun
