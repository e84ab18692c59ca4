// How much memory this machine gives us.
#pragma once

#include <cstdint>

namespace longrun {

// Of the machine.
std::int64_t PhysicalMemoryBytes();

// Of the machine, or the smallest limit of our cgroup (version 2) and those above it. Bytes.
std::int64_t MachineMemoryBytes();

}  // namespace longrun
