// FIRE: functional interpolation for relative positions. Li et al.
// 2024 (arXiv:2310.04418), section 3.
//
//   u[i][j] = ln(|c (i - j)| + 1) / (ln(|c max(i, |lambda L|)| + 1) + 1e-6),   L = init_length
//   s[i][j] = <q_i, k_j> / sqrt(head_dim) + (W2 relu(W1 u + b1) + b2)_h
//
// Learned: the network (W1 (width, 1), b1 (width), W2 (H, width), b2 (H), each ~ U(-1/sqrt(inputs),
// 1/sqrt(inputs)), the start of torch's linear layers), c starting at 0.1 and lambda at 1. The
// normaliser uses the query's own position, so every row after lambda L reads distances within 0 ..
// 1: interpolation.
#include <cmath>

#include "model/position/method.h"

namespace longrun {
namespace {

ParamResult<TermSpec> FireTerms(const Json& params, const AttentionShape& shape) {
  const auto width = params.at("width").get<std::int64_t>();
  const double bound = 1.0 / std::sqrt(static_cast<double>(width));
  return TermSpec{
      .scale = 1.0 / std::sqrt(static_cast<double>(shape.head_dim)),
      .distance_network = DistanceNetwork{.w1 = "w1",
                                          .b1 = "b1",
                                          .w2 = "w2",
                                          .b2 = "b2",
                                          .c = "c",
                                          .lambda = "lambda",
                                          .length = static_cast<double>(
                                              params.at("init_length").get<std::int64_t>())},
      .learned = {{.name = "w1", .shape = {width, 1}, .init = {.low = -1.0, .high = 1.0}},
                  {.name = "b1", .shape = {width}, .init = {.low = -1.0, .high = 1.0}},
                  {.name = "w2",
                   .shape = {shape.n_head, width},
                   .init = {.low = -bound, .high = bound}},
                  {.name = "b2", .shape = {shape.n_head}, .init = {.low = -bound, .high = bound}},
                  {.name = "c", .shape = {1}, .init = {.mean = 0.1}},
                  {.name = "lambda", .shape = {1}, .init = {.mean = 1.0}}},
      .share_layers = params.at("share_layers").get<bool>(),
  };
}

}  // namespace

const PositionMethod& FireMethod() {
  static const PositionMethod method = {
      .name = "fire",
      .source = "arXiv:2310.04418, section 3",
      .beyond = "works; distances are interpolated, perplexity rises slowly",
      .params = {{.name = "width",
                  .type = PositionParam::Type::kCount,
                  .default_value = 32,
                  .min = 1,
                  .max = 4096,
                  .meaning = "hidden units of the network that reads the distance"},
                 {.name = "init_length",
                  .type = PositionParam::Type::kCount,
                  .default_value = 512,
                  .min = 1,
                  .max = 1 << 26,
                  .meaning = "L: queries before about this position all have the same normaliser"},
                 {.name = "share_layers",
                  .type = PositionParam::Type::kBool,
                  .default_value = false,
                  .meaning = "one network for all layers"}},
      .terms = &FireTerms,
  };
  return method;
}

}  // namespace longrun
