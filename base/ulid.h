// The time in a ULID (random.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace longrun {

// The time at which the ULID was made, in ms since 1970; nullopt if the text is not a ULID.
std::optional<std::int64_t> UlidWallMs(std::string_view ulid);

}  // namespace longrun
