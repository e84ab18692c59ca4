// A heat map in the terminal: two queries per line in 24-bit colours, or shades of characters.
#pragma once

#include <string>

#include "client/plots/heat_map.h"

namespace longrun::client {

struct HeatTextStyle {
  int width = 64;  // largest width of the map in characters
  bool ascii = false;
  bool colour = false;  // true: half blocks in 24-bit colours; false: shades
};
std::string RenderHeatText(const HeatMap& heat, const HeatTextStyle& style);

}  // namespace longrun::client
