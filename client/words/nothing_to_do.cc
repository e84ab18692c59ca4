#include "client/words/nothing_to_do.h"

#include "base/str.h"
#include "client/console/exit_code.h"

namespace longrun::client {

std::string NothingToDo(const std::string& sweep, const std::string& state, std::string_view verb) {
  if (SweepExitCode({state}) == kExitIncomplete) return "";
  const bool may_retry = verb == "resume" && (state == "FAILED" || state == "PARTIAL");
  return Str(sweep, state == "CANCELLED" ? " was cancelled already" : " has already ended",
             state == "CANCELLED" ? "" : Str(" (", state, ")"), ": there is nothing to ", verb,
             may_retry ? Str("; `longrun retry ", sweep, "` tries its failed tasks again") : "");
}

}  // namespace longrun::client
