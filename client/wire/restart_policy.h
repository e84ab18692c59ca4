// Decides when a daemon that has ended is started again, and when it is given up. Time is passed
// in, in milliseconds of BootMs(). The reason for its end, and when it is started again:
//
//   it ran for a minute or more   as below, as if it had never failed before
//   it was killed, or the obstacle may pass (a full disk, a folder that is still held)
//                                 after 0.2 s, 0.4 s, ... 10 s, forever
//   it refused to run             once more; then it is given up, since it would refuse again
//   its state folder is gone, or damaged
//                                 never
#pragma once

#include <cstdint>

namespace longrun::client {

class RestartPolicy {
 public:
  enum class End { kMayPass, kRefused, kForGood };

  void Started(std::int64_t now_ms) { started_ms_ = now_ms; }
  std::int64_t started_ms() const { return started_ms_; }
  // It has ended, or a start has failed.
  void Ended(End end, std::int64_t now_ms);

  bool gives_up() const { return n_refused_ >= kRefusalsMax; }
  bool IsDue(std::int64_t now_ms) const { return !gives_up() && now_ms >= again_ms_; }

 private:
  static constexpr int kRefusalsMax = 2;

  std::int64_t started_ms_ = 0;
  std::int64_t again_ms_ = 0;
  std::int64_t wait_ms_ = 0;
  int n_refused_ = 0;
};

}  // namespace longrun::client
