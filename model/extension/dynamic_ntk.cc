// Dynamic NTK: the base grows with the text, and a text within L0 is read unchanged. emozilla 2023;
// transformers' rope_type "dynamic".
//
//   base' = base (s L / L0 - (s - 1))^(d / (d - 2))   for L > L0, else base
//
// L is the length of the whole text and applies to all its tokens, so that a longer text rotates
// its first tokens again: generating token by token beyond L0 has no cache.
#include <cmath>

#include "model/extension/extension.h"

namespace longrun {
namespace {

ParamResult<ExtendedRotation> Rotation(const Json& params, const RopeShape& shape,
                                       std::int64_t n_tokens) {
  const double factor = params.at("factor").get<double>();
  const auto d = static_cast<double>(shape.n_rotary);
  const auto original = params.at("original_length").get<double>();
  const auto length = static_cast<double>(n_tokens);
  double base = shape.base;
  // With d = 2 the only pair turns at frequency 1 for any base.
  if (length > original && d > 2.0) {
    base *= std::pow(factor * length / original - (factor - 1.0), d / (d - 2.0));
  }
  return ExtendedRotation{.frequency = RopeFrequencies({.base = base, .n_rotary = shape.n_rotary})};
}

}  // namespace

const Extension& DynamicNtkExtension() {
  static const Extension extension = {
      .name = "dynamic_ntk",
      .source = "emozilla 2023; transformers, rope_type dynamic",
      .meaning =
          "the base grows with the text, and a text within original_length is read unchanged",
      .params = {FactorParam(), OriginalLengthParam(true)},
      .rotation = &Rotation,
      .by_length = [](const Json&) { return true; },
      .trains = true,
      .needs_original_length = true};
  return extension;
}

}  // namespace longrun
