// The memory that this process may use.
#pragma once

#include <cstdint>

namespace longrun {

// The machine's memory, whatever the cgroup's limit.
std::int64_t PhysicalMemoryBytes();

// The machine's memory or, if smaller, the smallest limit of our cgroup (version 2) and
// of those above it.
std::int64_t MachineMemoryBytes();

}  // namespace longrun
