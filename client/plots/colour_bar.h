// The colours of heat maps, and the bar beside a map that says which colour means which value.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "client/plots/drawing.h"
#include "client/plots/plot_scale.h"

namespace longrun::client {

// Colours from dark to light (viridis.h).
inline constexpr int kHeatColours = 256;
std::uint32_t HeatColour(double unit);  // 0 lowest to 1 highest; 0xRRGGBB

class ColourBar {
 public:
  // `height` in pixels decides how many ticks it has.
  ColourBar(const PlotScale& scale, double height);

  // The width that it needs, with the gap to the map and its name.
  double Room() const;
  // Puts it to the right of a map whose upper right corner is at `corner`.
  void Put(DrawPoint corner, const std::string& name, Drawing& drawing) const;

 private:
  PlotScale scale_;
  double height_;
  std::vector<double> ticks_;
};

}  // namespace longrun::client
