// Names of other programs and papers for keys and position methods of a sweep file. They are not
// accepted: a message says what they are called here.
#pragma once

#include <string_view>

namespace longrun {

struct ForeignName {
  std::string_view name;  // in small letters
  std::string_view ours;  // "train.optimizer.lr" for a key, "rope" for a method
  std::string_view note = "";
};

// Both ignore the case of letters, and return null for any other name.
const ForeignName* FindForeignKey(std::string_view name);
const ForeignName* FindForeignMethod(std::string_view name);

}  // namespace longrun
