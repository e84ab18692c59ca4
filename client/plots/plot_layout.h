// The layout of a plot: Plot -> Drawing.
//
// The names of the lines are at their right ends, pushed apart if they would overlap, each joined
// to its line by a thin line.
#pragma once

#include "client/plots/drawing.h"
#include "client/plots/plot.h"

namespace longrun::client {

// Lays out axes, lines, bands and labels at a size in pixels (at least 320 x 200).
Drawing LayOut(const Plot& plot, int width, int height);

}  // namespace longrun::client
