// What a log is told of a sweep: a line for each run that has moved, as long as a reader can follow.
//
// Of a large sweep, runs that wait or are done at first are counted in one line, and at most
// kLinesPerSecond lines come in a second; what was left out is counted with the next line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"

namespace longrun {

class ChangeLines {
 public:
  static constexpr std::size_t kRunsEach = 20;  // so many runs have a line each from the start
  static constexpr std::size_t kLinesPerSecond = 4;

  // The lines for a message of WatchSweep that comes at `now_ms`.
  std::vector<std::string> Of(const Json& message, std::int64_t now_ms);

 private:
  bool HasRoom(std::int64_t now_ms);

  std::map<std::string, std::string> milestones_;  // by run
  bool is_first_ = true;
  std::size_t n_left_out_ = 0;
  std::deque<std::int64_t> written_ms_;  // of the last second
};

}  // namespace longrun
