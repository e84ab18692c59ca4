#include "worker/trainer/stop.h"

#include <atomic>
#include <csignal>
#include <ctime>

namespace longrun {
namespace {

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

std::atomic<bool> g_stop_requested = false;

}  // namespace

void HoldStopSignals() {
  const sigset_t signals = StopSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

bool StopRequested() {
  const sigset_t signals = StopSignals();
  constexpr timespec kAtOnce = {};
  if (sigtimedwait(&signals, nullptr, &kAtOnce) > 0) g_stop_requested = true;
  return g_stop_requested;
}

}  // namespace longrun
