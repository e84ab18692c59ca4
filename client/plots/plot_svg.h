// A drawing as SVG 1.1. Colours follow the reader's light or dark scheme; class names and
// identifiers start with "lr", so that several pictures can be in one HTML page.
#pragma once

#include <string>

#include "client/plots/drawing.h"

namespace longrun::client {

// An SVG document: valid XML, with title and description, readable on light and dark pages. Can be
// used alone or inside HTML.
std::string RenderSvg(const Drawing& drawing);

}  // namespace longrun::client
