#include "client/words/labels.h"

#include <vector>

#include "base/str.h"

namespace longrun {

std::string LabelsText(const Json& labels) {
  std::vector<std::string> parts;
  parts.reserve(labels.size());
  for (const Json& label : labels) {
    parts.push_back(Str(label.at("key").get_ref<const std::string&>(), "=",
                        label.at("value").get_ref<const std::string&>()));
  }
  return Join(parts, ",");
}

}  // namespace longrun
