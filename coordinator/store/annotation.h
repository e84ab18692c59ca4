// What people say about a sweep after it was submitted: labels and a note. No part of what it asks
// for, and kept when the same file is submitted again.
#pragma once

#include <map>
#include <optional>
#include <string>

namespace longrun {

struct SweepAnnotation {
  std::string sweep_id;
  std::map<std::string, std::optional<std::string>> labels;  // nothing: the label is taken away
  std::optional<std::string> note;                           // "": taken away
};

}  // namespace longrun
