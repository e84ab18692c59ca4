// The memory that this process may use.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace longrun {

// The machine's memory, whatever the cgroup's limit.
std::int64_t PhysicalMemoryBytes();

// The machine's memory or, if smaller, the smallest limit of our cgroup and of those above it. A
// batch system gives a job its share of the memory in this way.
std::int64_t MachineMemoryBytes();

// What is in use of the machine's memory, by all programs.
struct HostMemory {
  std::int64_t total_bytes = 0;
  std::int64_t used_bytes = 0;  // not available for allocations

  std::int64_t available_bytes() const { return total_bytes - used_bytes; }
};
// From the text of /proc/meminfo (proc(5)); nullopt if it has another form.
std::optional<HostMemory> ParseHostMemory(std::string_view meminfo);
std::optional<HostMemory> ReadHostMemory();

// The limit that MachineMemoryBytes() heeds; nullopt if there is none. `groups` is the text of
// /proc/self/cgroup, `mount` the folder of the cgroup file systems: version 2 is mounted there, the
// memory of version 1 in its folder "memory", or both.
std::optional<std::int64_t> CgroupMemoryMax(const std::string& groups, const std::string& mount);

}  // namespace longrun
