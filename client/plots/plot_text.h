// A plot in the terminal: lines in Braille dots (or ASCII), a letter at each point, the names next
// to the ends of the lines.
#pragma once

#include <string>

#include "client/plots/plot.h"

namespace longrun::client {

struct PlotTextStyle {
  int width = 80;  // characters
  int height = 20;
  bool ascii = false;  // else Braille dots
  bool colour = false;
};

std::string RenderPlotText(const Plot& plot, const PlotTextStyle& style);

}  // namespace longrun::client
