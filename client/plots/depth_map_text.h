// A map of retrieval by depth in the terminal: a percentage for each depth and context length, on
// the colour of the heat map where the terminal has colours.
#pragma once

#include <string>

#include "client/plots/depth_map.h"

namespace longrun::client {

struct DepthTextStyle {
  int width = 80;  // characters; context lengths that do not fit go into a second block
  bool colour = false;
};
std::string RenderDepthText(const DepthMap& map, const DepthTextStyle& style);

}  // namespace longrun::client
