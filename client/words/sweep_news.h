// What `longrun up` tells of the sweeps while it works on them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "client/wire/messages.h"

namespace longrun::client {

class SweepNews {
 public:
  // A line for each sweep that is new, or whose state or number of failed tasks has changed since
  // the call before, oldest first. The first call leaves out the sweeps that have ended.
  std::vector<std::string> Of(const v1::ListSweepsResponse& sweeps);

 private:
  bool is_first_ = true;
  std::map<std::string, std::pair<std::string, std::int64_t>> told_;  // by id: state, failed
};

}  // namespace longrun::client
