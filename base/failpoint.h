// Failpoints: named places in a program at which a test can stop or end it, so that a crash between
// two given lines happens on purpose and not by luck. Only for tests; when the environment variable
// is absent, a failpoint costs one load and one compare.
//
//   LONGRUN_FAILPOINTS=after_commit:stop@3,artifact_mid_write:delay_ms:50
//
//   NAME:exit         _exit(99), like a crash: nothing is flushed, no destructor runs
//   NAME:abort        SIGABRT
//   NAME:stop         SIGSTOP to its own process, which pauses until SIGCONT or SIGKILL
//   NAME:delay_ms:N   sleeps
//   NAME:wait_for:F   sleeps until there is a file F
//   ...@K             acts only the K-th time that the place is passed (from 1);
//                     without it every time
//
// A value that does not parse ends the program with exit code 78 at the first failpoint: a test
// that expects a fault which never happens proves nothing.
#pragma once

namespace longrun {

inline constexpr int kFailpointExitCode = 99;

bool FailpointsArmed();                 // the variable was set when the program started
void ReachFailpoint(const char* name);  // any thread

inline void Failpoint(const char* name) {
  if (FailpointsArmed()) ReachFailpoint(name);
}

}  // namespace longrun
