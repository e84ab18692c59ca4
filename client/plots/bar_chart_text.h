// Bars and boxes in the terminal: a line each.
#pragma once

#include <string>

#include "client/plots/bar_chart.h"

namespace longrun::client {

struct BarTextStyle {
  int width = 80;  // characters
  bool ascii = false;
  bool colour = false;
};
// A box is "|---[==I==]---|": whiskers, quartiles and the median.
std::string RenderBarText(const BarChart& chart, const BarTextStyle& style);

}  // namespace longrun::client
