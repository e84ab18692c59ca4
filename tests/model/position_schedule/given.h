// Position schedules as a user gives them.
#pragma once

#include <cstdint>
#include <string>

#include "base/json.h"

namespace longrun {

inline Json Pose(std::int64_t target_length, std::int64_t chunks = 2,
                 const std::string& content = "random") {
  return {{"method", "pose"},
          {"target_length", target_length},
          {"chunks", chunks},
          {"content", content}};
}

inline Json Randpos(std::int64_t target_length) {
  return {{"method", "randpos"}, {"target_length", target_length}};
}

}  // namespace longrun
