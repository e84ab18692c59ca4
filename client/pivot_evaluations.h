#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"

namespace longrun {

// What tells evaluations of one dataset, split and protocol from each other, as text: "stride=32".
// Numbers of two evaluations rest on different text or context, and never stand in one table unnamed.
// Of each dataset by itself: how much of a split is scored by default depends on its size.
class Evaluations {
 public:
  // A row of GetResults.
  void Add(const Json& row, const std::string& dataset);
  // Null where there is only one.
  Json TextOf(const Json& row, const std::string& dataset) const;

 private:
  std::map<std::pair<std::string, std::string>, std::vector<Json>> values_;  // of group and key
};

}  // namespace longrun
