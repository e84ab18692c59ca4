// YaRN's mix of frequencies, which NTK-by-parts uses too. Formulas: yarn.cc.
#pragma once

#include <vector>

#include "model/extension/extension.h"

namespace longrun {

// The parameters factor and original_length, and those that say which pairs are mixed and how.
std::vector<ParamSpec> PartsParams();
ParamResult<ExtendedRotation> RotationByParts(const Json& params, const RopeShape& shape,
                                              double magnitude);

}  // namespace longrun
