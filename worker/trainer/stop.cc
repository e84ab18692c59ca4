#include "worker/trainer/stop.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <memory>
#include <mutex>
#include <thread>

#include "base/check.h"

namespace longrun::trainer {
namespace {

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

// Until it is destroyed, waits for a stop signal and ends the program with it.
class Watch {
 public:
  Watch() {
    const sigset_t signals = StopSignals();
    signals_ = signalfd(-1, &signals, SFD_CLOEXEC);
    over_ = eventfd(0, EFD_CLOEXEC);
    LR_CHECK(signals_ >= 0 && over_ >= 0);
    thread_ = std::thread([this] { Run(); });
  }
  ~Watch() {
    const std::uint64_t one = 1;
    LR_CHECK(write(over_, &one, sizeof one) == sizeof one);
    thread_.join();
    close(signals_);
    close(over_);
  }

 private:
  void Run() const {
    std::array<pollfd, 2> sources = {pollfd{.fd = signals_, .events = POLLIN, .revents = 0},
                                     pollfd{.fd = over_, .events = POLLIN, .revents = 0}};
    while (poll(sources.data(), sources.size(), -1) < 0) {
    }
    if (sources[0].revents == 0) return;
    signalfd_siginfo info = {};
    if (read(signals_, &info, sizeof info) != sizeof info) return;
    std::fputs("longrun-trainer: stopped while it read its inputs; nothing was computed\n", stderr);
    std::signal(static_cast<int>(info.ssi_signo), SIG_DFL);  // background jobs ignore SIGINT
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, static_cast<int>(info.ssi_signo));
    pthread_sigmask(SIG_UNBLOCK, &one, nullptr);
    kill(getpid(), static_cast<int>(info.ssi_signo));
  }

  int signals_ = -1, over_ = -1;
  std::thread thread_;
};

std::atomic<bool> g_stop_requested = false;
std::mutex g_mutex;              // guards g_watch
std::unique_ptr<Watch> g_watch;  // it takes the signals as long as there is one

bool TakeStop() {
  const sigset_t signals = StopSignals();
  constexpr timespec kAtOnce = {};
  if (sigtimedwait(&signals, nullptr, &kAtOnce) > 0) g_stop_requested = true;
  return g_stop_requested;
}

}  // namespace

void HoldStopSignals() {
  const sigset_t signals = StopSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

void EndWhenStopped() {
  const std::lock_guard lock(g_mutex);
  g_watch = std::make_unique<Watch>();
}

bool StopRequested() {
  const std::lock_guard lock(g_mutex);
  g_watch.reset();
  return TakeStop();
}

bool StopRequestedWhileWaiting() {
  const std::lock_guard lock(g_mutex);
  return g_watch == nullptr && TakeStop();
}

}  // namespace longrun::trainer
