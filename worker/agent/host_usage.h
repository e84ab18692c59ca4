// The load of this machine's processors (proc(5): /proc/stat).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace longrun::agent {

struct CpuTicks {
  std::int64_t busy = 0;
  std::int64_t all = 0;
};
// From the text of /proc/stat; nullopt if it has another form. Time spent waiting for a disk is not
// busy.
std::optional<CpuTicks> ParseCpuTicks(std::string_view stat);

// Reads the current values at each call.
class HostUsage {
 public:
  std::optional<double> CpuRatio();  // since the last call; at first, since boot

 private:
  CpuTicks before_;
};

}  // namespace longrun::agent
