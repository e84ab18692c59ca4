// The layout of a plot: Plot -> Drawing.
//
// Each line's name is at the line's right end, joined to it by a thin line. Names that would
// overlap are pushed apart.
#pragma once

#include "client/plots/drawing.h"
#include "client/plots/plot.h"

namespace longrun::client {

// Lays out axes, lines, bands and labels at a size in pixels (at least 320 x 200).
Drawing LayOut(const Plot& plot, int width, int height);

}  // namespace longrun::client
