// NTK-aware scaling: a larger base, so that the fastest pair is unchanged and the slowest is as in
// position interpolation. bloc97 2023; in the form of PoSE's LlamaVanillaNTK (arXiv:2309.10400).
//
//   base' = base s^(d / (d - 2)),   frequency'[c] = base'^(-2c/d)
#include <cmath>

#include "model/extension/extension.h"

namespace longrun {
namespace {

ParamResult<ExtendedRotation> Rotation(const Json& params, const RopeShape& shape, std::int64_t) {
  const auto d = static_cast<double>(shape.n_rotary);
  // With d = 2 the only pair turns at frequency 1 for any base.
  const double growth = d > 2.0 ? std::pow(params.at("factor").get<double>(), d / (d - 2.0)) : 1.0;
  return ExtendedRotation{
      .frequency = RopeFrequencies({.base = shape.base * growth, .n_rotary = shape.n_rotary})};
}

}  // namespace

const Extension& NtkExtension() {
  static const Extension extension = {
      .name = "ntk",
      .source = "bloc97 2023; arXiv:2309.10400, section 2.2",
      .meaning =
          "a larger base: the fastest pair keeps its frequency, and the slowest pair's frequency "
          "is divided by the factor",
      .params = {FactorParam(), OriginalLengthParam(false)},
      .rotation = &Rotation,
      .trains = true};
  return extension;
}

}  // namespace longrun
