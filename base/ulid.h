// What a ULID (random.h) says of itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace longrun {

// When it was made, in ms since 1970; nothing where the text is no ULID.
std::optional<std::int64_t> UlidWallMs(std::string_view ulid);

}  // namespace longrun
