// What the methods that turn pairs of channels need of a model's heads.
#pragma once

#include <optional>
#include <string_view>

#include "model/position/method.h"

namespace longrun {

// An error if the heads have an odd number of channels.
std::optional<ParamError> NeedsEvenHead(std::string_view method, const AttentionShape& shape);

}  // namespace longrun
