// The load of this machine's processors and memory (proc(5): /proc/stat, /proc/meminfo).
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

struct HostMemory {
  std::int64_t total_bytes = 0;
  std::int64_t used_bytes = 0;  // not available for allocations
};
std::optional<HostMemory> ParseHostMemory(std::string_view meminfo);

// Reads the current values at each call.
class HostUsage {
 public:
  std::optional<double> CpuRatio();  // since the last call; at first, since boot
  static std::optional<HostMemory> Memory();

 private:
  CpuTicks before_;
};

}  // namespace longrun::agent
