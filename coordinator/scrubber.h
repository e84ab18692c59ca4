// Checks the whole database for damage, slowly, on its own thread: a minute after the start and
// then once a day.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "coordinator/store/damage.h"
#include "coordinator/store/scrub.h"

namespace longrun::coordinator {

struct ScrubberTimes {
  std::int64_t first_ms = 60'000;
  std::int64_t again_ms = 24ll * 3600 * 1000;
  std::int64_t pause_ms = 100;  // between two steps: at most 10,000 rows a second
  std::int64_t n_rows = 1000;   // per step
};

class Scrubber {
 public:
  // `note` is called on its thread with the damage found.
  Scrubber(std::unique_ptr<Scrub> scrub, std::function<void(const std::vector<DamagedRow>&)> note,
           ScrubberTimes times = {});
  ~Scrubber();
  Scrubber(const Scrubber&) = delete;
  Scrubber& operator=(const Scrubber&) = delete;

 private:
  void Run();
  bool Pause(std::int64_t wait_ms);  // returns false if it must stop

  const std::unique_ptr<Scrub> scrub_;
  const std::function<void(const std::vector<DamagedRow>&)> note_;
  const ScrubberTimes times_;
  std::mutex mutex_;  // guards stopping_
  bool stopping_ = false;
  std::condition_variable stop_;
  std::thread thread_;
};

}  // namespace longrun::coordinator
