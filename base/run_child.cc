#include "base/run_child.h"

#include <signal.h>
#include <string.h>

#include <optional>
#include <string_view>

#include "base/files.h"
#include "base/memory_file.h"
#include "base/str.h"

namespace longrun {

std::string ChildRun::Complaint() const {
  if (exit.signal == 0) {
    return last_line.empty() ? Str("it ended with exit code ", exit.code) : last_line;
  }
  const char* const name = sigdescr_np(exit.signal);
  return Str("it was ended by signal ", exit.signal, name == nullptr ? "" : Str(" (", name, ")"),
             last_line.empty() ? "" : Str(": ", last_line));
}

Result<ChildRun> RunChild(SpawnOptions options, const ChildLimits& limits) {
  ASSIGN_OR_RETURN(const MemoryFile printed, MemoryFile::Make());
  ASSIGN_OR_RETURN(const MemoryFile said, MemoryFile::Make());
  options.stdout_path = printed.path();
  options.stderr_path = said.path();
  ASSIGN_OR_RETURN(const int pid, Spawn(options));
  ASSIGN_OR_RETURN(std::optional<ExitInfo> ended, WaitFor(pid, limits.timeout_ms));
  ChildRun run = {.is_late = !ended.has_value()};
  if (run.is_late) {
    kill(options.own_group ? -pid : pid, SIGKILL);
    ASSIGN_OR_RETURN(ended, WaitFor(pid, -1));
  }
  run.exit = *ended;
  ASSIGN_OR_RETURN(run.printed, ReadFile(printed.path(), limits.printed_bytes_max));
  // What it said decides nothing: too much of it is no error.
  const Result<std::string> text = ReadFile(said.path(), limits.printed_bytes_max);
  const std::string_view all = text.ok() ? Trim(*text) : std::string_view();
  run.last_line = Printable(Trim(all.substr(all.rfind('\n') + 1)));
  return run;
}

}  // namespace longrun
