// ReRoPE: all keys beyond a window are read at one distance. Su 2023 (kexue.fm/archives/9708);
// bojone/rerope.
//
//   distance(p, j) = min(p - j, w)
//
// With logn, the scores of query p are multiplied by max(1, ln(p + 1) / ln L0), as in that code.
#include "model/extension/extension.h"

namespace longrun {
namespace {

Reading Read(const Json& params, const Stretch& stretch) {
  const auto w = params.at("window").get<std::int64_t>();
  return {
      .regions = {{.key_begin = stretch.Begins([=](std::int64_t p) { return p - w + 1; }),
                   .query_row = stretch.Queries([](std::int64_t p) { return p; })},
                  {.query_row = stretch.Queries([=](std::int64_t) { return w; }), .key_set = 1}},
      .key_sets = {{.row = stretch.Keys([](std::int64_t j) { return j; })},
                   {.row = stretch.Keys([](std::int64_t) { return 0; })}},
      .query_factor = LogFactors(params, stretch)};
}

std::optional<ParamError> Check(const Json& params) { return CheckBelowOriginal("window", params); }

}  // namespace

const Extension& ReropeExtension() {
  static const Extension extension = {
      .name = "rerope",
      .source = "kexue.fm/archives/9708",
      .meaning = "all keys beyond a window are read at the same distance, the size of the window",
      .params = {LengthParam("window", nullptr,
                             "keys, including the query's own, that keep their "
                             "distance"),
                 LognParam(), OriginalLengthParam(true)},
      .needs_original_length = true,
      .read = &Read,
      .check = &Check};
  return extension;
}

}  // namespace longrun
