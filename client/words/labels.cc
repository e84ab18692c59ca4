#include "client/words/labels.h"

#include <vector>

#include "base/str.h"

namespace longrun::client {

std::string LabelsText(const Repeated<v1::Label>& labels) {
  std::vector<std::string> parts;
  parts.reserve(static_cast<std::size_t>(labels.size()));
  for (const v1::Label& label : labels) {
    parts.push_back(Str(label.key(), "=", label.value()));
  }
  return Join(parts, ",");
}

}  // namespace longrun::client
