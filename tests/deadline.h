// How long a test waits before it calls a thing lost. A sanitizer makes everything slower, and with
// it every deadline longer, as the time limit of the whole test is (cmake/LongrunTarget.cmake).
#pragma once

#include <cstdint>

namespace longrun {

constexpr std::int64_t DeadlineMs(std::int64_t ms) { return ms * LONGRUN_TEST_TIMEOUT_FACTOR; }

}  // namespace longrun
