// The size of a plot or heat map, as a user gives it.
#pragma once

#include <string>

#include "base/status.h"

namespace longrun::client {

// The size given with --size: pixels of a picture, or characters of text.
struct PlotSize {
  int width = 0;  // 0: not given
  int height = 0;
};
// "800x480"; "": not given.
Result<PlotSize> ReadPlotSize(const std::string& text);

}  // namespace longrun::client
