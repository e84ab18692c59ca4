// SelfExtend: keys within a window keep their distance, older ones are read at positions divided by
// a group. Jin et al. 2024 (arXiv:2401.01325), section 3.2.
//
//   distance(p, j) = p - j                                     where p - j < w
//                    floor(p / g) + w - floor(w / g) - floor(j / g)   elsewhere
//
// With float_offset, w / g is not rounded down, as in the prefill of the authors' code: far queries
// then stand between two positions where g does not divide w.
#include "model/extension/extension.h"

namespace longrun {
namespace {

struct Numbers {
  std::int64_t g, w;
  bool float_offset;
};

Numbers Of(const Json& params) {
  return {.g = params.at("group").get<std::int64_t>(),
          .w = params.at("window").get<std::int64_t>(),
          .float_offset = params.at("float_offset").get<bool>()};
}

Reading Read(const Json& params, const Stretch& stretch) {
  const Numbers numbers = Of(params);
  const std::int64_t g = numbers.g, w = numbers.w;
  const std::int64_t steps = numbers.float_offset ? g : 1;
  const std::int64_t offset = numbers.float_offset ? g * w - w : w - w / g;  // in steps
  return {.regions = {{.key_begin = stretch.Begins([=](std::int64_t p) { return p - w + 1; }),
                       .query_row = stretch.Queries([=](std::int64_t p) { return p * steps; })},
                      {.query_row =
                           stretch.Queries([=](std::int64_t p) { return p / g * steps + offset; }),
                       .key_set = 1}},
          .key_sets = {{.row = stretch.Keys([=](std::int64_t j) { return j * steps; })},
                       {.row = stretch.Keys([=](std::int64_t j) { return j / g * steps; })}},
          .steps = steps};
}

// The largest n with floor((n - 1) / g) + w - floor(w / g) < L0.
std::int64_t Longest(std::int64_t original, std::int64_t w, std::int64_t g) {
  return g * (original - w + w / g);
}

std::optional<ParamError> CheckLength(const Json& params, std::int64_t n_tokens) {
  return CheckDivided("group", params, n_tokens, &Longest);
}

std::optional<ParamError> CheckPositions(const Json& params, std::int64_t n_tokens) {
  return Of(params).float_offset ? CheckSteps("group", params, n_tokens) : std::nullopt;
}

std::optional<ParamError> Check(const Json& params) { return CheckBelowOriginal("window", params); }

}  // namespace

const Extension& SelfExtendExtension() {
  static const Extension extension = {
      .name = "self_extend",
      .source = "arXiv:2401.01325, section 3.2",
      .meaning =
          "keys within a window keep their distances; for older keys, positions are "
          "divided by `group`",
      .params = {{.name = "group",
                  .type = ParamSpec::Type::kCount,
                  .default_value = nullptr,
                  .min = 1,
                  .max = kGroupMax,
                  .meaning = "how many neighbouring positions beyond the window become one"},
                 LengthParam("window", nullptr,
                             "keys, including the query's own, that keep their "
                             "distance"),
                 {.name = "float_offset",
                  .type = ParamSpec::Type::kBool,
                  .default_value = false,
                  .meaning = "do not round window / group down, as in the authors' prefill"},
                 OriginalLengthParam(true)},
      .needs_original_length = true,
      .read = &Read,
      .check_length = &CheckLength,
      .check_positions = &CheckPositions,
      .check = &Check};
  return extension;
}

}  // namespace longrun
