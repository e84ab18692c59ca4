// See leading_zero.h.
#include "base/leading_zero.h"

#include "base/str.h"

namespace longrun {

bool HasLeadingZero(std::string_view text) {
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  return text.size() > 1 && text[0] == '0' && text[1] >= '0' && text[1] <= '9';
}

std::string WithoutLeadingZeros(std::string_view text) {
  const std::size_t at = text.starts_with('-') || text.starts_with('+') ? 1 : 0;
  const std::string_view sign = text.substr(0, at);
  text.remove_prefix(at);
  while (HasLeadingZero(text)) text.remove_prefix(1);
  return Str(sign, text);
}

std::string LeadingZeroRemedy(std::string_view text) {
  return Str("; some programs read a number with a leading zero as octal: write ",
             WithoutLeadingZeros(text));
}

}  // namespace longrun
