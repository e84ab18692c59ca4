// Tells a file that is gone from one that cannot be looked at.
#pragma once

#include <string>

namespace longrun {

// Whether the path leads to nothing. False if that cannot be determined, as in a folder that the
// user may not search: then `!PathExists(path)` would be true, too.
bool IsAbsent(const std::string& path);

}  // namespace longrun
