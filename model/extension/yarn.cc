// YaRN: fast pairs are unchanged, slow ones are interpolated, those in between are mixed; and
// attention becomes sharper. Peng et al. 2023 (arXiv:2309.00071), sections 3.2 to 3.4;
// transformers' rope_type "yarn".
//
//   dim(r)  = d ln(L0 / (2 pi r)) / (2 ln base)     the channel that turns r times in L0 tokens
//   lo, hi  = max(floor(dim(beta_fast)), 0), min(ceil(dim(beta_slow)), d - 1)
//             without floor and ceil if `truncate` is false
//   ramp[c] = clamp((c - lo) / (hi - lo), 0, 1),    gamma = 1 - ramp;  hi + 0.001 where lo = hi
//   paper:   frequency' = (1 - gamma) frequency / s + gamma frequency
//   revised: frequency' = frequency / ((1 - gamma) s + gamma)       PoSE
//                                                                   (arXiv:2309.10400): wavelengths
//   magnitude = attention_factor, by default 0.1 ln s + 1
#include "model/extension/yarn.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/str.h"

namespace longrun {
namespace {

void RefineDefaults(const Json& given, Json& params) {
  if (given.contains("attention_factor")) return;
  params["attention_factor"] = 0.1 * std::log(params.at("factor").get<double>()) + 1.0;
}

std::vector<ParamSpec> Params() {
  std::vector<ParamSpec> params = PartsParams();
  params.push_back({.name = "attention_factor",
                    .type = ParamSpec::Type::kNumber,
                    .default_value = 1.0,
                    .min = 0.0,
                    .max = 1e3,
                    .meaning = "factor on rotated q and on rotated k (default: 0.1 ln factor + "
                               "1)"});
  return params;
}

}  // namespace

std::optional<ParamError> CheckParts(const Json& params) {
  const double fast = params.at("beta_fast").get<double>();
  const double slow = params.at("beta_slow").get<double>();
  if (fast >= slow) return std::nullopt;
  return ParamError{.key = "beta_fast",
                    .message = Str("expected beta_slow ", slow, " or more, found ", fast,
                                   ": pairs that rotate more often than beta_fast stay unchanged, "
                                   "and slower ones change")};
}

namespace {

ParamResult<ExtendedRotation> Rotation(const Json& params, const RopeShape& shape, std::int64_t) {
  return RotationByParts(params, shape, params.at("attention_factor").get<double>());
}

}  // namespace

ParamResult<ExtendedRotation> RotationByParts(const Json& params, const RopeShape& shape,
                                              double magnitude) {
  if (!(shape.base > 1.0)) {
    return ParamError{.key = "method",
                      .message = Str(params.at("method").get<std::string>(),
                                     " needs a base above 1, and the model's is ", shape.base)};
  }
  const double factor = params.at("factor").get<double>();
  const auto original = params.at("original_length").get<double>();
  const auto d = static_cast<double>(shape.n_rotary);
  const auto dim = [&](const char* turns) {
    const double r = params.at(turns).get<double>();
    return d * std::log(original / (2.0 * std::numbers::pi * r)) / (2.0 * std::log(shape.base));
  };
  const bool truncate = params.at("truncate").get<bool>();
  const double first = dim("beta_fast"), last = dim("beta_slow");
  const double lo = std::max(truncate ? std::floor(first) : first, 0.0);
  double hi = std::min(truncate ? std::ceil(last) : last, d - 1.0);
  if (lo == hi) hi += 0.001;
  const bool revised = params.at("variant") == "revised";
  ExtendedRotation rotation = {.frequency = RopeFrequencies(shape), .magnitude = magnitude};
  double c = 0.0;
  for (double& frequency : rotation.frequency) {
    const double gamma = 1.0 - std::clamp((c - lo) / (hi - lo), 0.0, 1.0);
    frequency = revised ? frequency / ((1.0 - gamma) * factor + gamma)
                        : frequency / factor * (1.0 - gamma) + frequency * gamma;
    c += 1.0;
  }
  return rotation;
}

std::vector<ParamSpec> PartsParams() {
  return {FactorParam(),
          OriginalLengthParam(true),
          {.name = "beta_fast",
           .type = ParamSpec::Type::kNumber,
           .default_value = 32.0,
           .min = 1e-3,
           .max = 1e6,
           .meaning = "pairs that rotate more often than this in original_length stay unchanged"},
          {.name = "beta_slow",
           .type = ParamSpec::Type::kNumber,
           .default_value = 1.0,
           .min = 1e-3,
           .max = 1e6,
           .meaning = "pairs that rotate less often than this are interpolated"},
          {.name = "truncate",
           .type = ParamSpec::Type::kBool,
           .default_value = true,
           .meaning = "widen the range of pairs between fast and slow to whole channels"},
          {.name = "variant",
           .type = ParamSpec::Type::kChoice,
           .default_value = "paper",
           .choices = {"paper", "revised"},
           .meaning = "what is mixed for pairs between fast and slow; paper: frequencies; revised: "
                      "wavelengths, as PoSE does"}};
}

const Extension& YarnExtension() {
  static const Extension extension = {
      .name = "yarn",
      .source = "arXiv:2309.00071, sections 3.2 to 3.4",
      .meaning =
          "fast pairs keep their frequencies, slow pairs' frequencies are divided by the "
          "factor, and attention becomes sharper",
      .params = Params(),
      .refine_defaults = &RefineDefaults,
      .rotation = &Rotation,
      .trains = true,
      .needs_original_length = true,
      .check = &CheckParts};
  return extension;
}

}  // namespace longrun
