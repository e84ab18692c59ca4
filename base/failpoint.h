// Failpoints: named places in a program where a test stops or ends it, so that a crash between two
// given lines can be brought about and not only hoped for. For tests; off, and one load and compare,
// when the environment variable is absent.
//
//   LONGRUN_FAILPOINTS=after_commit:stop@3,artifact_mid_write:delay_ms:50
//
//   NAME:exit         _exit(99), as a crash: nothing is flushed, no destructor runs
//   NAME:abort        SIGABRT
//   NAME:stop         SIGSTOP to the own process: it stands still until SIGCONT, or SIGKILL
//   NAME:delay_ms:N   sleeps
//   ...@K             only the K-th time that the place is passed (from 1); without it every time
//
// A value that does not parse ends the program with exit code 78 at the first failpoint: a test that
// believes in a fault that is not there proves nothing.
#pragma once

namespace longrun {

inline constexpr int kFailpointExitCode = 99;

bool FailpointsArmed();                 // the variable was set when the program started
void ReachFailpoint(const char* name);  // any thread

inline void Failpoint(const char* name) {
  if (FailpointsArmed()) ReachFailpoint(name);
}

}  // namespace longrun
