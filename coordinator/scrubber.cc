// See scrubber.h.
#include "coordinator/scrubber.h"

#include <chrono>
#include <iterator>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "base/thread.h"

namespace longrun::coordinator {

Scrubber::Scrubber(std::unique_ptr<Scrub> scrub,
                   std::function<void(const std::vector<DamagedRow>&)> note, ScrubberTimes times)
    : scrub_(std::move(scrub)),
      note_(std::move(note)),
      times_(times),
      thread_(StartThread([this] { Run(); })) {}

Scrubber::~Scrubber() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  thread_.join();
}

bool Scrubber::Pause(std::int64_t wait_ms) {
  std::unique_lock lock(mutex_);
  return !stop_.wait_for(lock, std::chrono::milliseconds(wait_ms), [&] { return stopping_; });
}

void Scrubber::Run() {
  if (!Pause(times_.first_ms)) return;
  while (true) {
    const std::int64_t begun_ms = BootMs(), n_before = scrub_->n_rows();
    std::int64_t n_damaged = 0;
    do {
      if (const Status status = scrub_->Step(times_.n_rows); !status.ok()) {
        LogWarning("scrub_failed", {{"error", status.message()}});
      }
      const std::vector<DamagedRow> damaged = scrub_->TakeDamaged();
      n_damaged += std::ssize(damaged);
      if (!damaged.empty()) note_(damaged);
      if (!Pause(times_.pause_ms)) return;
    } while (!scrub_->is_at_begin());
    LogInfo("scrubbed", {{"rows", Str(scrub_->n_rows() - n_before)},
                         {"damaged", Str(n_damaged)},
                         {"seconds", Str((BootMs() - begun_ms) / 1000)}});
    if (!Pause(times_.again_ms)) return;
  }
}

}  // namespace longrun::coordinator
