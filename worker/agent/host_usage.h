// How busy this machine's processors and memory are (proc(5): /proc/stat, /proc/meminfo).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace longrun {

struct CpuTicks {
  std::int64_t busy = 0;
  std::int64_t all = 0;
};
// Of the text of /proc/stat; nothing when it has another form. Waiting for a disk is not busy.
std::optional<CpuTicks> ParseCpuTicks(std::string_view stat);

struct HostMemory {
  std::int64_t total_bytes = 0;
  std::int64_t used_bytes = 0;  // what an allocation could not have
};
std::optional<HostMemory> ParseHostMemory(std::string_view meminfo);

// Read each time it is asked.
class HostUsage {
 public:
  std::optional<double> CpuRatio();  // since the call before; the first time, since the start
  static std::optional<HostMemory> Memory();

 private:
  CpuTicks before_;
};

}  // namespace longrun
