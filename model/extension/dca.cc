// Dual chunk attention (ChunkLlama): keys stand at j mod c; a query reads its own chunk, the one
// before it and all older ones from three positions. An et al. 2024 (arXiv:2402.17463), section 3.
//
//   S = 3 L0 / 4,   c = S - local_window
//   query p:  p mod c               for keys of its own chunk
//             min(p mod c + c, S)   for those of the chunk before
//             min(2 c - 1, S)       for older ones
//
// With a temperature t, scores are multiplied by (t ln(T / L0) + 1)^2 in texts of T > L0 tokens, as
// in the authors' code (0.05 in its plain form, 0.1 in that for decoding); their paper's numbers do
// not have it. T is the length of the whole text.
#include <algorithm>
#include <cmath>

#include "base/str.h"
#include "model/extension/extension.h"

namespace longrun {
namespace {

std::int64_t OriginalOf(const Json& params) {
  return params.at("original_length").get<std::int64_t>();
}

void RefineDefaults(const Json& given, Json& params) {
  const bool is_given = given.value("local_window", Json(0)) != 0;
  if (!is_given) params["local_window"] = std::max<std::int64_t>(1, OriginalOf(params) / 8);
}

std::vector<double> Temperature(const Json& params, const Stretch& stretch) {
  const double t = params.at("temperature").get<double>();
  const auto length = static_cast<double>(stretch.n_key());
  const auto original = static_cast<double>(OriginalOf(params));
  if (t == 0.0 || length <= original) return {};
  const double factor = t * std::log(length / original) + 1.0;
  return std::vector<double>(static_cast<std::size_t>(stretch.n_query), factor * factor);
}

Reading Read(const Json& params, const Stretch& stretch) {
  const std::int64_t s = 3 * OriginalOf(params) / 4;
  const std::int64_t c = s - params.at("local_window").get<std::int64_t>();
  return {.regions = {{.key_begin = stretch.Begins([=](std::int64_t p) { return p / c * c; }),
                       .query_row = stretch.Queries([=](std::int64_t p) { return p % c; })},
                      {.key_begin = stretch.Begins([=](std::int64_t p) { return (p / c - 1) * c; }),
                       .query_row =
                           stretch.Queries([=](std::int64_t p) { return std::min(p % c + c, s); })},
                      {.query_row =
                           stretch.Queries([=](std::int64_t) { return std::min(2 * c - 1, s); })}},
          .key_sets = {{.row = stretch.Keys([=](std::int64_t j) { return j % c; })}},
          .query_factor = Temperature(params, stretch)};
}

bool DependsOnLength(const Json& params) { return params.at("temperature").get<double>() != 0.0; }

std::optional<ParamError> Check(const Json& params) {
  const std::int64_t s = 3 * OriginalOf(params) / 4;
  const auto local = params.at("local_window").get<std::int64_t>();
  if (local < s) return std::nullopt;
  return ParamError{.key = "local_window",
                    .message = Str("expected less than ", s, ", three quarters of original_length ",
                                   OriginalOf(params), ", found ", local)};
}

}  // namespace

const Extension& DcaExtension() {
  static const Extension extension = {
      .name = "dca",
      .source = "arXiv:2402.17463, section 3 (ChunkLlama)",
      .meaning =
          "positions start again in each chunk; a query has different ones for its own chunk, "
          "the chunk before and all older chunks",
      .params = {LengthParam("local_window", 0,
                             "how many tokens shorter a chunk is than three quarters of "
                             "original_length (default: original_length / 8)"),
                 {.name = "temperature",
                  .type = ParamSpec::Type::kNumber,
                  .default_value = 0.0,
                  .min = 0.0,
                  .max = 10.0,
                  .meaning = "t: in texts of T > original_length tokens, scores are multiplied "
                             "by (t ln(T / original_length) + 1)^2"},
                 OriginalLengthParam(true)},
      .refine_defaults = &RefineDefaults,
      .by_length = &DependsOnLength,
      .needs_original_length = true,
      .read = &Read,
      .check = &Check};
  return extension;
}

}  // namespace longrun
