// Labels and a note that users add to a sweep after it was submitted. They are not part of its
// content, and stay when the same file is submitted again.
#pragma once

#include <map>
#include <optional>
#include <string>

namespace longrun::coordinator {

struct SweepAnnotation {
  std::string sweep_id;
  std::map<std::string, std::optional<std::string>> labels;  // nullopt: removes the label
  std::optional<std::string> note;                           // "": removes it
};

}  // namespace longrun::coordinator
