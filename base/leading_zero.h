// Numbers with zeros before their digits: 017 is 15 to a program that reads YAML 1.1, and 17 to
// others, so such a number is refused.
#pragma once

#include <string>
#include <string_view>

namespace longrun {

// Whether digits follow a zero, after a sign or not.
bool HasLeadingZero(std::string_view text);
std::string WithoutLeadingZeros(std::string_view text);
// "; some programs read a number with a leading zero as octal: write 17"
std::string LeadingZeroRemedy(std::string_view text);

}  // namespace longrun
