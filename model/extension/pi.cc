// Position interpolation: positions p / s. Chen et al. 2023 (arXiv:2306.15595), section 2.3;
// transformers' rope_type "linear".
//
//   frequency'[c] = frequency[c] / s
#include "model/extension/extension.h"

namespace longrun {
namespace {

ParamResult<ExtendedRotation> Rotation(const Json& params, const RopeShape& shape, std::int64_t) {
  const double factor = params.at("factor").get<double>();
  ExtendedRotation rotation = {.frequency = RopeFrequencies(shape)};
  for (double& frequency : rotation.frequency) frequency /= factor;
  return rotation;
}

}  // namespace

const Extension& PiExtension() {
  static const Extension extension = {.name = "pi",
                                      .source = "arXiv:2306.15595, section 2.3",
                                      .meaning = "all frequencies are divided by the factor",
                                      .params = {FactorParam(), OriginalLengthParam(false)},
                                      .rotation = &Rotation,
                                      .trains = true};
  return extension;
}

}  // namespace longrun
