// Files that a command writes to a path from the user: -o FILE.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace longrun::client {

// What to do about a full disk whose files are not longrun's (kMakeRoom, base/shortage.h).
inline constexpr std::string_view kMakeRoomThere = "make room there";

// Replaces a file, or the target of a link, in one step. Anything else (a device, a pipe) is
// written to and stays. kFailedPrecondition for a folder, a file without any write permission, and
// a file of a state folder, which all stay unchanged. If the disk is full, the message has the
// remedy.
Status WriteOutputFile(const std::string& path, std::string_view bytes);

}  // namespace longrun::client
