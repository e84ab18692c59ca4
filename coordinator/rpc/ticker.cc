// See ticker.h.
#include "coordinator/rpc/ticker.h"

#include <chrono>
#include <utility>

#include "base/thread.h"

namespace longrun::coordinator {
namespace {

constexpr std::chrono::milliseconds kTick{250};

}  // namespace

Ticker::Ticker() : thread_(StartThread([this] { Run(); })) {}

Ticker::~Ticker() { Stop(); }

void Ticker::Add(std::function<void()> wake) {
  {
    const std::lock_guard lock(mutex_);
    if (!stopping_) {
      waiting_.push_back(std::move(wake));
      return;
    }
  }
  wake();
}

void Ticker::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Ticker::Run() {
  bool last = false;
  while (!last) {
    std::vector<std::function<void()>> woken;
    {
      std::unique_lock lock(mutex_);
      last = stop_.wait_for(lock, kTick, [&] { return stopping_; });
      woken = std::exchange(waiting_, {});
    }
    for (const auto& wake : woken) wake();
  }
}

}  // namespace longrun::coordinator
