#include "base/decimal_text.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "base/str.h"

namespace longrun {

std::string DecimalText(double value, int digits) {
  constexpr double kLarge = 1e6;
  char text[64];
  if (!std::isfinite(value) || std::abs(value) < kLarge) {
    std::snprintf(text, sizeof text, "%.*f", digits, value);
    return text;
  }
  std::snprintf(text, sizeof text, "%.2e", value);  // "3.58e+15"
  const std::string_view all = text;
  const std::size_t e = all.find('e');
  return Str(all.substr(0, e), "e", std::atoi(text + e + 1));
}

}  // namespace longrun
