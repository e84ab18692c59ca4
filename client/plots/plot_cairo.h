// A drawing as PNG or PDF, on white, through cairo: the same marks as in the SVG.
#pragma once

#include <string>

#include "base/status.h"
#include "client/plots/drawing.h"

namespace longrun::client {

// PNG bytes, on white; `scale` pixels for each pixel of the drawing.
Result<std::string> RenderPng(const Drawing& drawing, double scale = 2.0);
// PDF bytes, one page, for papers: lines and letters stay lines and letters at any size. A pixel of
// the drawing is 1/96 inch, as in SVG. The same drawing gives the same bytes.
Result<std::string> RenderPdf(const Drawing& drawing);
// PNG bytes of only the image, one pixel for each of its pixels.
Result<std::string> PixelPng(const PixelImage& image);

}  // namespace longrun::client
