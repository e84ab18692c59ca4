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
// Nothing can be drawn that is smaller.
inline constexpr PlotSize kSmallestText = {.width = 16, .height = 4};
inline constexpr PlotSize kSmallestPlot = {.width = 320, .height = 200};  // also of a bar chart
inline constexpr PlotSize kSmallestDepthMap = {.width = 360, .height = 240};
inline constexpr PlotSize kSmallestHeatMap = {.width = 360, .height = 360};

// "800x480", not smaller than `smallest`; "": not given.
Result<PlotSize> ReadPlotSize(const std::string& text, const PlotSize& smallest);

}  // namespace longrun::client
