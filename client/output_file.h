// Files that a command writes where the user said: -o FILE.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace longrun {

// Replaces a file, or the one that a link leads to, at once and whole. Whatever else the path names (a device,
// a pipe) is written to and stays. kFailedPrecondition for a folder, a file without write permission for
// anybody, and a file of a state folder, which are left as they are.
Status WriteOutputFile(const std::string& path, std::string_view bytes);

}  // namespace longrun
