// Lists of values that may have parameters in parentheses.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace longrun {

// Splits at the separators outside of parentheses: "rope(base=1, x=2),alibi" has two parts. Empty
// parts are kept.
inline std::vector<std::string> SplitOutside(std::string_view text, char separator) {
  std::vector<std::string> parts(1);
  int depth = 0;
  for (const char c : text) {
    depth += c == '(' ? 1 : c == ')' ? -1 : 0;
    if (c == separator && depth <= 0) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

}  // namespace longrun
