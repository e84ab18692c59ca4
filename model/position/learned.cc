// Learned absolute positions: one trained vector per position (GPT-2).
//
//   x_0[t] = token[t] + P[t],   P (n_positions, C) ~ N(0, 0.02^2)
//
// P ends at n_positions. Past the end nothing is defined: `refuse` makes the caller's result
// not_applicable. Ablations: clamp reads P[min(t, n_positions - 1)], wrap P[t mod n_positions].
#include <cmath>

#include "model/position/method.h"

namespace longrun {
namespace {

ParamResult<TermSpec> LearnedTerms(const Json& params, const AttentionShape& shape) {
  using Beyond = InputAdd::Beyond;
  const auto& beyond = params.at("beyond").get_ref<const std::string&>();
  return TermSpec{
      .scale = 1.0 / std::sqrt(static_cast<double>(shape.head_dim)),
      .input_add = InputAdd{.learned_table = "wpe",
                            .beyond = beyond == "clamp"  ? Beyond::kClamp
                                      : beyond == "wrap" ? Beyond::kWrap
                                                         : Beyond::kRefuse},
  };
}

}  // namespace

const PositionMethod& LearnedMethod() {
  static const PositionMethod method = {
      .name = "learned",
      .source = "GPT-2 (Radford et al. 2019), wpe",
      .beyond = "undefined: refused, unless `beyond` says otherwise",
      .params = {{.name = "beyond",
                  .type = PositionParam::Type::kChoice,
                  .default_value = "refuse",
                  .choices = {"refuse", "clamp", "wrap"},
                  .meaning = "how to read a position past the end of the table"}},
      .terms = &LearnedTerms,
      .has_position_table = true,
  };
  return method;
}

}  // namespace longrun
