// Time. Leases and deadlines live on the boot-time clock, which counts suspend; the wall clock is
// for display only.
#pragma once

#include <cstdint>
#include <string>

namespace longrun {

std::int64_t BootMs();  // CLOCK_BOOTTIME, milliseconds
std::int64_t WallMs();  // CLOCK_REALTIME, milliseconds since 1970

// "2026-11-20T08:03:46Z"
std::string FormatWallMs(std::int64_t wall_ms);

}  // namespace longrun
