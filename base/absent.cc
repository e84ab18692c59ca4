#include "base/absent.h"

#include <sys/stat.h>

#include <cerrno>

namespace longrun {

bool IsAbsent(const std::string& path) {
  struct stat found = {};
  return ::stat(path.c_str(), &found) != 0 && errno == ENOENT;
}

}  // namespace longrun
