// StreamingLLM: a query sees the first keys (attention sinks) and the last ones, at their places in
// a cache that holds no others. Xiao et al. 2023 (arXiv:2309.17453), section 3.2.
//
//   dropped(p) = max(0, p + 1 - (sinks + recent))
//   key j of query p is seen at p - j                where p - j < recent,
//                        and at p - dropped(p) - j   where j < sinks, beyond those
//
// The authors' evaluation drops keys after a step, so that a step sees one more: theirs is `recent`
// larger by one.
#include <algorithm>

#include "base/str.h"
#include "model/extension/extension.h"

namespace longrun {
namespace {

void RefineDefaults(const Json& given, Json& params) {
  if (given.value("recent", Json(0)) != 0) return;
  const auto sinks = params.at("sinks").get<std::int64_t>();
  params["recent"] = params.at("original_length").get<std::int64_t>() - sinks;
}

Reading Read(const Json& params, const Stretch& stretch) {
  const auto sinks = params.at("sinks").get<std::int64_t>();
  const auto recent = params.at("recent").get<std::int64_t>();
  const auto dropped = [=](std::int64_t p) {
    return std::max<std::int64_t>(0, p + 1 - (sinks + recent));
  };
  return {
      .regions = {{.key_begin = stretch.Begins([=](std::int64_t) { return sinks; }),
                   .query_row = stretch.Queries([](std::int64_t p) { return p; })},
                  {.query_row = stretch.Queries([=](std::int64_t p) { return p - dropped(p); })}},
      .key_sets = {{.row = stretch.Keys([](std::int64_t j) { return j; })}},
      .window = recent,
      .n_sink = sinks};
}

std::optional<ParamError> Check(const Json& params) {
  if (params.at("recent").get<std::int64_t>() >= 1) return std::nullopt;
  return ParamError{
      .key = "sinks",
      .message = Str("expected less than original_length ", params.at("original_length").dump(),
                     ", found ", params.at("sinks").dump(), "; or give recent")};
}

// The first sink is seen at a distance of sinks + recent - 1.
std::optional<ParamError> CheckLength(const Json& params, std::int64_t n_tokens) {
  const auto n_recent =
      params.at("original_length").get<std::int64_t>() - params.at("sinks").get<std::int64_t>();
  return CheckTrainedDistances("recent", params, n_recent, n_tokens);
}

}  // namespace

const Extension& StreamingExtension() {
  static const Extension extension = {
      .name = "streaming",
      .source = "arXiv:2309.17453, section 3.2 (StreamingLLM)",
      .meaning =
          "a query sees only the first keys and the last ones, at their places in a cache that "
          "holds no others",
      .params = {LengthParam("sinks", 4, "how many of the first keys a query sees"),
                 LengthParam("recent", 0,
                             "how many of the last keys a query sees, its own included (default: "
                             "original_length - sinks)"),
                 OriginalLengthParam(true)},
      .refine_defaults = &RefineDefaults,
      .needs_original_length = true,
      .read = &Read,
      .check_length = &CheckLength,
      .check = &Check};
  return extension;
}

}  // namespace longrun
