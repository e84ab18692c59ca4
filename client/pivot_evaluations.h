#pragma once

#include <map>
#include <optional>
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
  // Null where there is only one; once all rows were added.
  const Json& TextOf(const Json& row, const std::string& dataset);

 private:
  // What many rows share.
  struct Known {
    std::string dataset;
    std::vector<Json> parts;  // metric, split, protocol, evaluation
    std::string group;        // all but the evaluation
    Json params = {};         // of the evaluation, without what has an axis of its own
    std::optional<Json> text = {};
  };
  Known& Find(const Json& row, const std::string& dataset);

  std::map<std::string, Known> known_;
  Known* last_ = nullptr;
  std::map<std::pair<std::string, std::string>, std::vector<Json>> values_;  // of group and key
};

}  // namespace longrun
