// YaRN's mix of frequencies, which NTK-by-parts has too. Formulas: yarn.cc.
#pragma once

#include <vector>

#include "model/extension/extension.h"

namespace longrun {

// factor, original_length, and the range of pairs that are mixed, and how.
std::vector<ParamSpec> PartsParams();
ParamResult<ExtendedRotation> RotationByParts(const Json& params, const RopeShape& shape,
                                              double magnitude);

}  // namespace longrun
