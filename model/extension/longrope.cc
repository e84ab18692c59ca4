// LongRoPE: each pair is slowed by a factor that a search found, one list for texts within L0 and
// one for longer texts. Ding et al. 2024 (arXiv:2402.13753); transformers' rope_type "longrope".
//
//   frequency'[c] = frequency[c] / lambda[c],   lambda: short_factor for L <= L0, else long_factor
//   magnitude = attention_factor, by default sqrt(1 + ln s / ln L0)
//
// L is the length of the whole text, for all its tokens.
#include <cmath>

#include "base/str.h"
#include "model/extension/extension.h"

namespace longrun {
namespace {

constexpr std::string_view kLists[] = {"short_factor", "long_factor"};

ParamSpec ListParam(std::string_view name, std::string_view meaning) {
  return {.name = name,
          .type = ParamSpec::Type::kNumberList,
          .default_value = nullptr,
          .min = 1e-6,
          .max = 1e6,
          .meaning = meaning};
}

void RefineDefaults(const Json& given, Json& params) {
  if (given.contains("attention_factor")) return;
  const double factor = params.at("factor").get<double>();
  const auto original = params.at("original_length").get<double>();
  params["attention_factor"] = std::sqrt(1.0 + std::log(factor) / std::log(original));
}

ParamResult<ExtendedRotation> Rotation(const Json& params, const RopeShape& shape,
                                       std::int64_t n_tokens) {
  ExtendedRotation rotation = {.frequency = RopeFrequencies(shape),
                               .magnitude = params.at("attention_factor").get<double>()};
  for (const std::string_view list : kLists) {
    const std::string name(list);
    if (params.at(name).size() == rotation.frequency.size()) continue;
    return ParamError{
        .key = name,
        .message = Str("expected a number for each of the ", rotation.frequency.size(),
                       " pairs of rotary channels, found ", params.at(name).size())};
  }
  const bool is_long = n_tokens > params.at("original_length").get<std::int64_t>();
  const Json& lambda = params.at(is_long ? "long_factor" : "short_factor");
  for (std::size_t c = 0; c < rotation.frequency.size(); ++c) {
    rotation.frequency[c] /= lambda[c].get<double>();
  }
  return rotation;
}

}  // namespace

const Extension& LongropeExtension() {
  static const Extension extension = {
      .name = "longrope",
      .source = "arXiv:2402.13753; transformers, rope_type longrope",
      .meaning = "each pair's frequency is divided by its factor in a list",
      .params = {FactorParam(),
                 OriginalLengthParam(true),
                 {.name = "attention_factor",
                  .type = ParamSpec::Type::kNumber,
                  .default_value = 1.0,
                  .min = 0.0,
                  .max = 1e3,
                  .meaning = "factor on rotated q and on rotated k (default: sqrt(1 + ln factor "
                             "/ ln original_length))"},
                 ListParam(
                     kLists[0],
                     "divisor of each pair's frequency in texts of at most original_length tokens"),
                 ListParam(kLists[1], "divisor of each pair's frequency in longer texts")},
      .refine_defaults = &RefineDefaults,
      .rotation = &Rotation,
      .by_length = [](const Json&) { return true; },
      .trains = true,
      .needs_original_length = true};
  return extension;
}

}  // namespace longrun
