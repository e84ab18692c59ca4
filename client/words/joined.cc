#include "client/words/joined.h"

#include "base/split_outside.h"
#include "base/str.h"

namespace longrun::client {

std::string JoinLabels(std::vector<std::string> labels) {
  if (labels.size() > 1) {
    for (std::string& label : labels) {
      if (SplitOutside(label, ',').size() > 1) label = Str('"', label, '"');
    }
  }
  return Join(labels, ", ");
}

}  // namespace longrun::client
