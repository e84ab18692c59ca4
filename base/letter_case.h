// Capitals and small letters of ASCII. Other bytes stay as they are, in every locale.
#pragma once

#include <string>
#include <string_view>

namespace longrun {

int ToLower(int c);
int ToUpper(int c);
std::string InCase(std::string_view text, int (*to_case)(int));
std::string InSmallLetters(std::string_view text);
std::string InCapitals(std::string_view text);

}  // namespace longrun
