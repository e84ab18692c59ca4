// Canonical JSON (json.h) looked at without building it.
#pragma once

#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

namespace longrun {

// The members of an object with the canonical text of each, when `text` is the canonical text of one, in ASCII
// and without escapes. Nothing of any other text.
using MemberTexts = std::vector<std::pair<std::string_view, std::string_view>>;
std::optional<MemberTexts> PlainMembers(std::string_view text, const JsonLimits& limits = {});

}  // namespace longrun
