// Reads the members of an object in canonical JSON (json.h) without building a value.
#pragma once

#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

namespace longrun {

// Each member's name and the canonical text of its value. Returns nullopt if `text` is not the
// canonical text of an object, in ASCII and without escapes. The views point into `text`.
using MemberTexts = std::vector<std::pair<std::string_view, std::string_view>>;
std::optional<MemberTexts> PlainMembers(std::string_view text, const JsonLimits& limits = {});

}  // namespace longrun
