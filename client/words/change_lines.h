// The progress of a sweep for a log: a line for each run that has changed,
// at a rate that a reader can follow.
//
// For a large sweep, a first line counts the tasks, and runs that are waiting or finished at the
// start get no line. There are at most kLinesPerSecond lines per second, and a line counts the
// changes that were left out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "client/wire/messages.h"

namespace longrun::client {

class ChangeLines {
 public:
  static constexpr std::size_t kRunsEach = 20;  // up to this many, each run gets a first line
  static constexpr std::size_t kLinesPerSecond = 4;

  // The lines for a message of WatchSweep that comes at `now_ms`.
  std::vector<std::string> Of(const v1::WatchSweepResponse& message, std::int64_t now_ms);

 private:
  bool HasRoom(std::int64_t now_ms);

  std::map<std::string, std::string> milestones_;  // by run
  bool is_first_ = true;
  std::int64_t n_left_out_ = 0;
  std::deque<std::int64_t> written_ms_;  // times in the last second
};

}  // namespace longrun::client
