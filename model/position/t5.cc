// T5's relative bias: one learned number per head and bucket of distances. Raffel et al. 2020
// (arXiv:1910.10683), section 2.1; transformers, modeling_t5.py.
//
//   s[i][j] = scale <q_i, k_j> + table[bucket(j - i)][h]
//
// Buckets of n = |i - j|, n' per side (causal: all to the left; else the first half for j <= i, the
// second for j > i), with m = n' / 2:
//   n < m:  n        else:  min(n' - 1, m + floor(ln(n / m) / ln(max_distance / m) * (n' - m)))
// All distances beyond max_distance share the last bucket.
//
// T5 itself has scale 1 (its queries start smaller) and table ~ N(0, 1/C); in a body whose scores
// are divided by sqrt(head_dim) the table starts as N(0, 0.02^2), as GPT's weights do.
#include <algorithm>
#include <cmath>

#include "base/str.h"
#include "model/position/method.h"

namespace longrun {
namespace {

struct Buckets {
  std::int64_t n = 0;
  std::int64_t max_distance = 0;
  bool causal = true;

  // The bucket of a query that is `distance` = i - j after the key.
  std::size_t operator()(std::int64_t distance) const {
    const std::int64_t to_a_side = causal ? n : n / 2;
    const std::int64_t base = !causal && distance < 0 ? to_a_side : 0;
    const std::int64_t away = causal ? std::max<std::int64_t>(distance, 0) : std::abs(distance);
    const std::int64_t exact = to_a_side / 2;
    if (away < exact) return static_cast<std::size_t>(base + away);
    const double share = std::log(static_cast<double>(away) / static_cast<double>(exact)) /
                         std::log(static_cast<double>(max_distance) / static_cast<double>(exact));
    const auto further = static_cast<std::int64_t>(share * static_cast<double>(to_a_side - exact));
    return static_cast<std::size_t>(base + std::min(to_a_side - 1, exact + further));
  }
};

DistanceBias BiasOf(const Buckets& bucket, std::size_t n_head) {
  return {
      .learned = {"table"},
      .forward =
          [=](const DistanceBias::Tensors& learned, std::int64_t begin, std::span<double> bias) {
            const std::size_t n = bias.size() / n_head;
            for (std::size_t k = 0; k < n; ++k) {
              const std::size_t row = bucket(begin + static_cast<std::int64_t>(k)) * n_head;
              for (std::size_t h = 0; h < n_head; ++h) bias[h * n + k] = learned[0][row + h];
            }
          },
      .backward =
          [=](const DistanceBias::Tensors& /*learned*/, std::int64_t begin,
              std::span<const double> d_bias, const DistanceBias::Gradients& d_learned) {
            const std::size_t n = d_bias.size() / n_head;
            for (std::size_t k = 0; k < n; ++k) {
              const std::size_t row = bucket(begin + static_cast<std::int64_t>(k)) * n_head;
              for (std::size_t h = 0; h < n_head; ++h) d_learned[0][row + h] += d_bias[h * n + k];
            }
          },
      .form = DistanceForm{.kind = DistanceForm::Kind::kTable, .row = [=](std::int64_t distance) {
                             return static_cast<std::int64_t>(bucket(distance));
                           }}};
}

ParamResult<TermSpec> T5Terms(const Json& params, const AttentionShape& shape) {
  const Buckets bucket = {.n = params.at("buckets").get<std::int64_t>(),
                          .max_distance = params.at("max_distance").get<std::int64_t>(),
                          .causal = shape.causal};
  const std::int64_t sides = shape.causal ? 1 : 2;
  if (bucket.n % (2 * sides) != 0) {
    return ParamError{
        .key = "buckets",
        .message = Str("expected a multiple of ", 2 * sides,
                       shape.causal ? "" : " (a model without a causal mask has two sides)",
                       ", found ", bucket.n)};
  }
  const std::int64_t exact = bucket.n / sides / 2;
  if (bucket.max_distance <= exact) {
    return ParamError{.key = "max_distance",
                      .message = Str("expected more than ", exact,
                                     ", the distances that have a bucket of their own, found ",
                                     bucket.max_distance)};
  }
  const auto given = params.at("scale").get<double>();
  const double width = static_cast<double>(shape.d_model);
  return TermSpec{
      .scale = given == 0.0 ? 1.0 / std::sqrt(static_cast<double>(shape.head_dim)) : given,
      .distance_bias = BiasOf(bucket, static_cast<std::size_t>(shape.n_head)),
      .learned = {{.name = "table",
                   .shape = {bucket.n, shape.n_head},
                   .init = {.std = given == 1.0 ? 1.0 / std::sqrt(width) : 0.02}}},
      .share_layers = params.at("share_layers").get<bool>(),
  };
}

}  // namespace

const PositionMethod& T5Method() {
  static const PositionMethod method = {
      .name = "t5",
      .source = "arXiv:1910.10683, section 2.1",
      .beyond = "works: far distances share a bucket; perplexity rises",
      .params = {{.name = "buckets",
                  .type = PositionParam::Type::kCount,
                  .default_value = 32,
                  .min = 2,
                  .max = 4096,
                  .meaning = "rows of the table of biases; in each direction, half of them are for "
                             "one distance each, and the others for ranges of distances"},
                 {.name = "max_distance",
                  .type = PositionParam::Type::kCount,
                  .default_value = 128,
                  .min = 2,
                  .max = 1 << 26,
                  .meaning = "all distances from here on share the last bucket"},
                 {.name = "scale",
                  .type = PositionParam::Type::kNumber,
                  .default_value = 0.0,
                  .min = 0.0,
                  .max = 1e3,
                  .meaning = "scale of <q, k>; 0: 1/sqrt(head_dim); 1: T5's own, with T5's "
                             "initialisation of the table"},
                 {.name = "share_layers",
                  .type = PositionParam::Type::kBool,
                  .default_value = true,
                  .meaning = "one table for all layers"}},
      .terms = &T5Terms,
  };
  return method;
}

}  // namespace longrun
