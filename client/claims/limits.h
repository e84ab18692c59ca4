// The limits between which a comparison is claimed to lie.
#pragma once

#include <limits>
#include <utility>

namespace longrun::client {

struct Limits {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool is_strict = false;  // the limits themselves do not count: equal is not below

  bool Hold(const std::pair<double, double>& interval) const {
    return is_strict ? interval.first > low && interval.second < high
                     : interval.first >= low && interval.second <= high;
  }
  bool AreMissedBy(const std::pair<double, double>& interval) const {
    return is_strict ? interval.first >= high || interval.second <= low
                     : interval.first > high || interval.second < low;
  }
};

}  // namespace longrun::client
