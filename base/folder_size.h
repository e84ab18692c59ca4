// The size of files on disk, for reports and for folders that have a limit.
#pragma once

#include <cstdint>
#include <string>

namespace longrun {

// The bytes of all files below a folder, or of the file itself if `path` is one. Links count as 0
// bytes, except that `path` itself may be a link to the folder. A file that cannot be read, or is
// removed meanwhile, counts as 0 bytes.
std::int64_t BytesBelow(const std::string& path);

}  // namespace longrun
