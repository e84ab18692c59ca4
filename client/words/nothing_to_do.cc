#include "client/words/nothing_to_do.h"

#include <algorithm>

#include "base/str.h"
#include "base/units.h"
#include "client/console/exit_code.h"
#include "client/words/render.h"

namespace longrun::client {

std::string NothingToDo(const std::string& sweep, const std::string& state, std::string_view verb) {
  if (SweepExitCode({state}) == kExitIncomplete) return "";
  const bool may_retry = verb == "resume" && (state == "FAILED" || state == "PARTIAL");
  return Str(sweep, state == "CANCELLED" ? " was cancelled already" : " has already ended",
             state == "CANCELLED" ? "" : Str(" (", state, ")"), ": there is nothing to ", verb,
             may_retry ? Str("; `longrun retry ", sweep, "` tries its failed tasks again") : "");
}

std::string PausingText(const std::string& thing, const Runs& runs) {
  std::int64_t n = 0, least_ms = 0;
  for (const v1::RunInfo& run : runs) {
    for (const v1::TaskInfo& task : run.tasks()) {
      const std::int64_t ms = task.not_before_in_ms();
      if (ms <= 0) continue;
      least_ms = n == 0 ? ms : std::min(least_ms, ms);
      n += 1;
    }
  }
  if (n == 0) return "";
  return Str(Counted(n, "task"),
             n == 1 ? " pauses after a failure, and is tried again by itself in "
                    : " pause after a failure, and are tried again by themselves, the first in ",
             FormatDurationMs((least_ms + 999) / 1000 * 1000), ": `longrun why ", thing,
             "` says why");
}

}  // namespace longrun::client
