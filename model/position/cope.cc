// CoPE: contextual positions; a query counts the keys that matter to it, not all of them. Golovneva
// et al. 2024 (arXiv:2405.18719), section 4.
//
//   a[i][j] = <q_i, k_j> / sqrt(head_dim),   g = sigmoid(a),   p[i][j] = min(P - 1, sum over
//                                                              j <= t <= i of g[i][t])
//   s[i][j] = a[i][j] + <q_i, e[p]>,   e between whole positions interpolated;   P = max_positions
//
// e (head_dim, P) starts as zeros, one for each layer, shared by its heads; <q, e> is not scaled.
// The gradient reaches the gates through the weight of the interpolation. Counting keys to the
// right of a query is not defined: causal only.
#include <cmath>

#include "model/position/method.h"

namespace longrun {
namespace {

ParamResult<TermSpec> CopeTerms(const Json& params, const AttentionShape& shape) {
  if (const auto refusal = NeedsCausal("cope", shape)) return *refusal;
  return TermSpec{
      .scale = 1.0 / std::sqrt(static_cast<double>(shape.head_dim)),
      .content_position = ContentPosition{.table = "table"},
      .learned = {{.name = "table",
                   .shape = {shape.head_dim, params.at("max_positions").get<std::int64_t>()}}},
  };
}

}  // namespace

const PositionMethod& CopeMethod() {
  static const PositionMethod method = {
      .name = "cope",
      .source = "arXiv:2405.18719, section 4",
      .beyond = "works: counts stop at max_positions - 1; perplexity rises",
      .params = {{.name = "max_positions",
                  .type = PositionParam::Type::kCount,
                  .default_value = 64,
                  .min = 1,
                  .max = 1 << 20,
                  .meaning = "P: rows of the table; counts above P - 1 are cut to P - 1"}},
      .terms = &CopeTerms,
  };
  return method;
}

}  // namespace longrun
