// A number for people, with a given number of digits after the point.
#pragma once

#include <string>

namespace longrun {

// "2.500" with 3 digits; from a million, where these digits say nothing, "3.58e15".
std::string DecimalText(double value, int digits);

}  // namespace longrun
