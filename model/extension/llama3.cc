// Llama 3.1's scaling (arXiv:2407.21783; transformers' rope_type "llama3"): pairs with wavelengths
// within L0 / high_freq_factor are unchanged, those beyond L0 / low_freq_factor are s times slower,
// and those in between are mixed.
//
//   sigma = (L0 / wavelength - low) / (high - low),   wavelength = 2 pi / frequency
//   frequency' = (1 - sigma) frequency / s + sigma frequency
#include <numbers>

#include "base/str.h"
#include "model/extension/extension.h"

namespace longrun {
namespace {

ParamResult<ExtendedRotation> Rotation(const Json& params, const RopeShape& shape, std::int64_t) {
  const double factor = params.at("factor").get<double>();
  const auto original = params.at("original_length").get<double>();
  const double low = params.at("low_freq_factor").get<double>();
  const double high = params.at("high_freq_factor").get<double>();
  if (!(low < high)) {
    return ParamError{.key = "high_freq_factor",
                      .message = Str("expected more than low_freq_factor ", low, ", found ", high)};
  }
  ExtendedRotation rotation = {.frequency = RopeFrequencies(shape)};
  for (double& frequency : rotation.frequency) {
    const double wavelength = 2.0 * std::numbers::pi / frequency;
    if (wavelength < original / high) continue;
    if (wavelength > original / low) {
      frequency /= factor;
      continue;
    }
    const double sigma = (original / wavelength - low) / (high - low);
    frequency = (1.0 - sigma) * frequency / factor + sigma * frequency;
  }
  return rotation;
}

}  // namespace

const Extension& Llama3Extension() {
  static const Extension extension = {
      .name = "llama3",
      .source = "arXiv:2407.21783; transformers, rope_type llama3",
      .meaning = "long wavelengths are interpolated, short ones stay as they are",
      .params =
          {FactorParam(),
           OriginalLengthParam(true),
           {.name = "low_freq_factor",
            .type = ParamSpec::Type::kNumber,
            .default_value = 1.0,
            .min = 1e-3,
            .max = 1e6,
            .meaning =
                "wavelengths longer than original_length / low_freq_factor are interpolated"},
           {.name = "high_freq_factor",
            .type = ParamSpec::Type::kNumber,
            .default_value = 4.0,
            .min = 1e-3,
            .max = 1e6,
            .meaning =
                "wavelengths shorter than original_length / high_freq_factor stay unchanged"}},
      .rotation = &Rotation,
      .trains = true,
      .needs_original_length = true};
  return extension;
}

}  // namespace longrun
