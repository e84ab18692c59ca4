#include "coordinator/scheduler/unheard.h"

#include "base/str.h"

namespace longrun::coordinator {

// `longrun workers` shows a worker without a session as SUSPECT, too.
std::string WhyUnheard(const State& state, const Attempt& attempt, Instant now) {
  if (!IsHeardOf(state, attempt.worker, now)) return NotHeardText(attempt);
  if (state.workers.at(attempt.worker).session) return "";
  return Str("attempt ", attempt.n, " is on worker ", attempt.worker,
             ", whose connection has just ended");
}

}  // namespace longrun::coordinator
