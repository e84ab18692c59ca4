// RoPE: q and k are rotated by their position, so that their product depends only on the distance.
// Su et al. 2021 (arXiv:2104.09864), section 3.4.2.
//
//   s[i][j] = <R_i q_i, R_j k_j> / sqrt(head_dim) = <q_i, R_{j-i} k_j> / sqrt(head_dim)
//   R_p turns channel pair c by p * frequency[c],  frequency[c] = base^(-2c/r),  c = 0 .. r/2 - 1
//
// r = int(partial * head_dim) rotary channels, even; the others are unchanged. Pairs are (c,
// c + r/2) in layout half (GPT-NeoX, Llama in transformers), (2c, 2c + 1) in layout interleaved
// (RoFormer, GPT-J). The two are the same function after a permutation of the channels of both W_q
// and W_k, so that only checkpoints distinguish them. v is not rotated.
#include <cmath>
#include <optional>

#include "base/str.h"
#include "model/position/even_head.h"
#include "model/position/method.h"

namespace longrun {
namespace {

ParamResult<TermSpec> RopeTerms(const Json& params, const AttentionShape& shape) {
  const double base = params.at("base").get<double>();
  const double partial = params.at("partial").get<double>();
  const auto n_rotary = static_cast<std::int64_t>(static_cast<double>(shape.head_dim) * partial);
  if (n_rotary < 2 || n_rotary % 2 != 0) {
    // The default share of 1 is no choice of the user's.
    const auto refusal = partial == 1.0 ? NeedsEvenHead("rope", shape) : std::nullopt;
    if (refusal) return *refusal;
    return ParamError{.key = "partial",
                      .message = Str(partial, " of head_dim ", shape.head_dim, " gives ", n_rotary,
                                     " rotary channels; expected an even number of at least 2")};
  }
  Rotation rotation;
  rotation.layout =
      params.at("layout") == "half" ? Rotation::Layout::kHalf : Rotation::Layout::kInterleaved;
  for (std::int64_t c = 0; c < n_rotary / 2; ++c) {
    const double exponent = -2.0 * static_cast<double>(c) / static_cast<double>(n_rotary);
    rotation.frequency.push_back(std::pow(base, exponent));
  }
  return TermSpec{.scale = 1.0 / std::sqrt(static_cast<double>(shape.head_dim)),
                  .rotation = std::move(rotation)};
}

}  // namespace

const PositionMethod& RopeMethod() {
  static const PositionMethod method = {
      .name = "rope",
      .source = "arXiv:2104.09864, section 3.4.2",
      .beyond = "works, but perplexity explodes",
      .params = {{.name = "layout",
                  .type = PositionParam::Type::kChoice,
                  .default_value = "half",
                  .choices = {"half", "interleaved"},
                  .meaning = "which channels form a rotated pair: (c, c + r/2) or (2c, 2c + 1)"},
                 {.name = "base",
                  .type = PositionParam::Type::kNumber,
                  .default_value = 10000.0,
                  .min = 1.0,
                  .max = 1e12,
                  .meaning = "the wavelengths grow from 2 pi to about 2 pi * base"},
                 {.name = "partial",
                  .type = PositionParam::Type::kNumber,
                  .default_value = 1.0,
                  .min = 0.0,
                  .max = 1.0,
                  .meaning = "share of a head's channels that are rotated"}},
      .terms = &RopeTerms,
  };
  return method;
}

}  // namespace longrun
