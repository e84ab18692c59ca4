#include "base/letter_case.h"

#include <algorithm>

namespace longrun {

int ToLower(int c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; }
int ToUpper(int c) { return c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c; }

std::string InCase(std::string_view text, int (*to_case)(int)) {
  std::string changed(text);
  std::ranges::transform(changed, changed.begin(),
                         [&](char c) { return static_cast<char>(to_case(c)); });
  return changed;
}

std::string InSmallLetters(std::string_view text) { return InCase(text, &ToLower); }
std::string InCapitals(std::string_view text) { return InCase(text, &ToUpper); }

}  // namespace longrun
