// See end_signals.h.
#include "base/end_signals.h"

#include "base/check.h"

namespace longrun {

sigset_t EndSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  struct sigaction hangup = {};
  LR_CHECK(sigaction(SIGHUP, nullptr, &hangup) == 0);
  if (hangup.sa_handler != SIG_IGN) sigaddset(&signals, SIGHUP);
  return signals;
}

}  // namespace longrun
