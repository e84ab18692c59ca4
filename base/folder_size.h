// What files take on disk, for reports and for folders that have a limit.
#pragma once

#include <cstdint>
#include <string>

namespace longrun {

// The bytes of all files below a folder, or of the one file that `path` is. Links to folders are
// not followed. What cannot be read, or is removed meanwhile, counts nothing.
std::int64_t BytesBelow(const std::string& path);

}  // namespace longrun
