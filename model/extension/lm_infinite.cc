// LM-Infinite: a query sees the last keys at their distances, and the first ones all at one
// distance. Han et al. 2023 (arXiv:2308.16137), section 3.
//
//   key j of query p is seen at p - j   where p - j < local,
//                        and at limit   where j < global, beyond those
//
// The authors' code takes min(limit, T - 1) for T keys; that differs only where the limit is longer
// than the whole text.
#include "model/extension/extension.h"

namespace longrun {
namespace {

void RefineDefaults(const Json& given, Json& params) {
  for (const auto& [name, of] : {std::pair("local", "original_length"), {"limit", "local"}}) {
    if (given.value(name, Json(0)) == 0) params[name] = params.at(of);
  }
}

Reading Read(const Json& params, const Stretch& stretch) {
  const auto local = params.at("local").get<std::int64_t>();
  const auto limit = params.at("limit").get<std::int64_t>();
  return {.regions = {{.key_begin = stretch.Begins([=](std::int64_t p) { return p - local + 1; }),
                       .query_row = stretch.Queries([](std::int64_t p) { return p; })},
                      {.query_row = stretch.Queries([=](std::int64_t) { return limit; }),
                       .key_set = 1}},
          .key_sets = {{.row = stretch.Keys([](std::int64_t j) { return j; })},
                       {.row = stretch.Keys([](std::int64_t) { return 0; })}},
          .window = local,
          .n_sink = params.at("global").get<std::int64_t>()};
}

std::optional<ParamError> CheckLength(const Json& params, std::int64_t n_tokens) {
  const auto original = params.at("original_length").get<std::int64_t>();
  if (auto error = CheckTrainedDistances("local", params, original, n_tokens)) return error;
  // The default is one more than the largest distance of such a text, as in the authors' code.
  return CheckTrainedDistances("limit", params, original, n_tokens);
}

}  // namespace

const Extension& LmInfiniteExtension() {
  static const Extension extension = {
      .name = "lm_infinite",
      .source = "arXiv:2308.16137, section 3",
      .meaning =
          "a query sees the last keys at their distances, and the first keys all at one "
          "distance",
      .params = {LengthParam("local", 0,
                             "how many of the last keys a query sees at their true distances, "
                             "its own included (default: original_length)"),
                 LengthParam("global", 10, "how many of the first keys a query sees"),
                 LengthParam("limit", 0,
                             "the distance at which a query sees the first keys that are not among "
                             "the last ones (default: local)"),
                 OriginalLengthParam(true)},
      .refine_defaults = &RefineDefaults,
      .needs_original_length = true,
      .read = &Read,
      .check_length = &CheckLength};
  return extension;
}

}  // namespace longrun
