// Names that a client or a worker gives.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace longrun::coordinator {

// kInvalidArgument with the rule for names, unless `name` is one. `of` says what it names: "model".
Status CheckName(const std::string& name, std::string_view of);

}  // namespace longrun::coordinator
