// Leaky ReRoPE: beyond a window, distances grow k times slower. Su 2023 (kexue.fm/archives/9708);
// bojone/rerope.
//
//   distance(p, j) = p - j                    where p - j < w
//                    w + (p - j - w) / k      elsewhere
//
// With logn, the scores of query p are multiplied by max(1, ln(p + 1) / ln L0), as in that code.
#include "model/extension/extension.h"

namespace longrun {
namespace {

// In steps of 1 / k, query p stands at p + w (k - 1) for the far keys, and key j at j.
Reading Read(const Json& params, const Stretch& stretch) {
  const auto w = params.at("window").get<std::int64_t>();
  const auto k = params.at("k").get<std::int64_t>();
  return {
      .regions = {{.key_begin = stretch.Begins([=](std::int64_t p) { return p - w + 1; }),
                   .query_row = stretch.Queries([=](std::int64_t p) { return p * k; })},
                  {.query_row = stretch.Queries([=](std::int64_t p) { return p + w * (k - 1); }),
                   .key_set = 1}},
      .key_sets = {{.row = stretch.Keys([=](std::int64_t j) { return j * k; })},
                   {.row = stretch.Keys([](std::int64_t j) { return j; })}},
      .steps = k,
      .query_factor = LogFactors(params, stretch)};
}

// The largest n with w + (n - 1 - w) / k < L0.
std::int64_t Longest(std::int64_t original, std::int64_t w, std::int64_t k) {
  return (original - w) * k + w;
}

std::optional<ParamError> CheckLength(const Json& params, std::int64_t n_tokens) {
  return CheckDivided("k", params, n_tokens, &Longest);
}

std::optional<ParamError> CheckPositions(const Json& params, std::int64_t n_tokens) {
  return CheckSteps("k", params, n_tokens);
}

std::optional<ParamError> Check(const Json& params) { return CheckBelowOriginal("window", params); }

}  // namespace

const Extension& LeakyReropeExtension() {
  static const Extension extension = {
      .name = "leaky_rerope",
      .source = "kexue.fm/archives/9708",
      .meaning = "beyond a window, distances grow k times slower",
      .params = {LengthParam("window", nullptr,
                             "keys, including the query's own, that keep their "
                             "distance"),
                 {.name = "k",
                  .type = ParamSpec::Type::kCount,
                  .default_value = nullptr,
                  .min = 1,
                  .max = kGroupMax,
                  .meaning = "how many times slower distances grow beyond the window"},
                 LognParam(),
                 OriginalLengthParam(true)},
      .needs_original_length = true,
      .read = &Read,
      .check_length = &CheckLength,
      .check_positions = &CheckPositions,
      .check = &Check};
  return extension;
}

}  // namespace longrun
