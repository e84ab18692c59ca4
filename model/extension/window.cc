// A sliding window: a query sees only its last keys, at their distances. Beltagy et al. 2020
// (arXiv:2004.05150); the baseline of methods that see more.
#include "model/extension/extension.h"

namespace longrun {
namespace {

void RefineDefaults(const Json& given, Json& params) {
  if (given.value("window", Json(0)) == 0) params["window"] = params.at("original_length");
}

Reading Read(const Json& params, const Stretch& stretch) {
  return {.regions = {{.query_row = stretch.Queries([](std::int64_t p) { return p; })}},
          .key_sets = {{.row = stretch.Keys([](std::int64_t j) { return j; })}},
          .window = params.at("window").get<std::int64_t>()};
}

std::optional<ParamError> CheckLength(const Json& params, std::int64_t n_tokens) {
  const auto original = params.at("original_length").get<std::int64_t>();
  return CheckTrainedDistances("window", params, original, n_tokens);
}

}  // namespace

const Extension& WindowExtension() {
  static const Extension extension = {
      .name = "window",
      .source = "arXiv:2004.05150",
      .meaning = "a query sees only its last keys",
      .params = {LengthParam("window", 0,
                             "how many of the last keys a query sees, its own included (default: "
                             "original_length)"),
                 OriginalLengthParam(true)},
      .refine_defaults = &RefineDefaults,
      .needs_original_length = true,
      .read = &Read,
      .check_length = &CheckLength};
  return extension;
}

}  // namespace longrun
