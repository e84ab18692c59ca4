// No position information: only the causal mask distinguishes orders (NoPE). Kazemnejad et al. 2023
// (arXiv:2305.19466).
//
//   s[i][j] = <q_i, k_j> / sqrt(head_dim)
//
// Without a causal mask the model cannot order tokens at all (it is permutation-equivariant); that
// is allowed, as an ablation.
#include <cmath>

#include "model/position/method.h"

namespace longrun {
namespace {

ParamResult<TermSpec> NoneTerms(const Json& /*params*/, const AttentionShape& shape) {
  return TermSpec{.scale = 1.0 / std::sqrt(static_cast<double>(shape.head_dim))};
}

}  // namespace

const PositionMethod& NoneMethod() {
  static const PositionMethod method = {
      .name = "none",
      .source = "arXiv:2305.19466 (NoPE)",
      .beyond = "works; perplexity rises",
      .terms = &NoneTerms,
  };
  return method;
}

}  // namespace longrun
