// The shim: `longrun-worker exec ATTEMPT_DIR TRAINER`. It is the trainer's parent and outlives the
// worker, so that the end of a trainer is recorded even if the worker dies:
//
//   lock shim.lock (until it ends) -> limits -> start the trainer -> wait -> exit.json -> unlock
//
// SIGTERM is passed on to the trainer; if the shim is killed, the kernel kills the trainer. Only
// the holder of shim.lock may start the trainer or give the attempt up. A worker that finds the
// lock free, and no exit.json, writes `abandoned` while it holds the lock; a shim that starts later
// finds this file, and starts nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace longrun::agent {

inline constexpr int kShimStartedNothing = 3;  // its exit code if the attempt must not be started

// Returns the program's exit code. The trainer gets the shim's environment and stderr, which the
// worker chose.
int ExecAttempt(const std::string& attempt_dir, const std::string& trainer);

// The number of times that the kernel's out-of-memory killer has acted: in our cgroup (version 2)
// or, if there is none, on the whole machine. nullopt if neither can be read. `root` is the prefix
// of /proc and /sys.
std::optional<std::int64_t> CountOomKills(const std::string& root);

// Whether the killer has acted lately: it also kills trainers of other slots, long before this one
// is killed by somebody else.
class RecentOomKills {
 public:
  using Count = std::optional<std::int64_t>;
  explicit RecentOomKills(Count now) : newer_(now), older_(now) {}
  // Call it once in each interval. Kills of the last one to two intervals count.
  void Note(Count now) { older_ = std::exchange(newer_, now); }
  bool Any(Count now) const { return now && older_ && *now > *older_; }

 private:
  Count newer_, older_;
};

}  // namespace longrun::agent
