// A drawing as PNG, on white, through cairo: the same marks as in the SVG.
#pragma once

#include <string>

#include "base/status.h"
#include "client/plots/drawing.h"

namespace longrun {

// PNG bytes, on white; `scale` pixels for each pixel of the drawing.
Result<std::string> RenderPng(const Drawing& drawing, double scale = 2.0);
// PNG bytes of only the image, one pixel for each of its pixels.
Result<std::string> PixelPng(const PixelImage& image);

}  // namespace longrun
