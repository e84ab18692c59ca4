// YaRN's mix of frequencies, which NTK-by-parts uses too. Formulas: yarn.cc.
#pragma once

#include <optional>
#include <vector>

#include "model/extension/extension.h"

namespace longrun {

// The parameters factor and original_length, and those that say which pairs are mixed and how.
std::vector<ParamSpec> PartsParams();
// An error if no pair rotates at a speed between fast and slow, since the two are exchanged.
std::optional<ParamError> CheckParts(const Json& params);
ParamResult<ExtendedRotation> RotationByParts(const Json& params, const RopeShape& shape,
                                              double magnitude);

}  // namespace longrun
