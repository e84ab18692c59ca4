#include "base/boot_id.h"

#include "base/files.h"
#include "base/str.h"

namespace longrun {

std::string BootId() {
  const Result<std::string> id = ReadFile("/proc/sys/kernel/random/boot_id", 64);
  return id.ok() ? std::string(Trim(*id)) : "";
}

}  // namespace longrun
