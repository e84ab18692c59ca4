// Whether it is known that a live attempt goes on: `get` and `why` must not contradict each other.
#pragma once

#include <string>

#include "coordinator/scheduler/scheduler.h"

namespace longrun::coordinator {

// Why it is not known: the attempt's worker is not connected, or has not been heard from
// (IsHeardOf). "" if it is known.
std::string WhyUnheard(const State& state, const Attempt& attempt, Instant now);

}  // namespace longrun::coordinator
