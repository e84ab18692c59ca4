// Child processes, started from argument vectors: nothing ever reaches a shell.
#pragma once

#include <sys/resource.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace longrun {

struct SpawnOptions {
  std::vector<std::string> argv{};  // argv[0] is the program's path
  std::vector<std::string> env{};   // "NAME=value"; the child's whole environment
  std::string cwd{};                // "" keeps ours
  std::string stdout_path{};        // "" is /dev/null; appended to
  std::string stderr_path{};        // "" is /dev/null; appended to
  bool inherit_output = false;      // the child writes where we write
  int channel = -1;                 // above 2: becomes its standard input and output
  bool own_group = false;           // setpgid: signals to our group do not reach it
  bool new_session = false;         // setsid: survives our terminal
  bool die_with_parent = false;     // PR_SET_PDEATHSIG: when the thread that starts it ends
};

// A path for argv[0] that means the running program, even after its file was replaced.
inline constexpr const char* kOwnProgram = "/proc/self/exe";

// Returns the pid. The child has no descriptors other than its standard files.
Result<int> Spawn(const SpawnOptions& options);

struct ExitInfo {
  int code = -1;   // exit code, or -1
  int signal = 0;  // the signal that ended it, or 0
  rusage usage{};
};

// Waits for a child of ours. With timeout_ms >= 0: nullopt if it is still running after that time.
Result<std::optional<ExitInfo>> WaitFor(int pid, std::int64_t timeout_ms);

// The folder of the running program; our other programs are beside it.
std::string ProgramFolder();
// The current environment's value, or nullopt.
std::optional<std::string> GetEnv(const std::string& name);
// Processor time that all threads of a process have used, in clock ticks; nullopt if the process is
// gone.
std::optional<std::uint64_t> ProcessBusyTicks(int pid);
// (pid, start time in clock ticks) identifies a process permanently, since pids are reused.
std::optional<std::uint64_t> ProcessStartTicks(int pid);

}  // namespace longrun
