// A heat map of attention: what is drawn (HeatMap), and its forms. LayOut places it once for SVG and PNG
// (plot.h renders both); the terminal has its own.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "client/drawing.h"
#include "client/plot_scale.h"
#include "model/attention_map.h"

namespace longrun {

// Colours by how much, from dark to light: perceived lightness rises evenly, so that equal steps look
// equal, in grey and to colour-blind eyes too.
inline constexpr int kHeatColours = 256;
std::uint32_t HeatColour(double unit);  // 0 lowest to 1 highest; 0xRRGGBB

struct HeatMap {
  std::string title = {};
  std::vector<std::string> subtitle = {};
  std::vector<std::string> notes = {};  // below: how it was pooled, what colours do not tell apart
  AttentionMap map = {};
  std::int64_t train_length = 0;  // a line where it lies within the map; 0: not known
  // Of the colours: logarithmic for probabilities, linear for logits. What is below `low` is drawn as it.
  PlotScale scale = {};

  // 0 to 1 of a cell's colour; nothing where no pair of it is visible, or its value is no number.
  std::optional<double> UnitAt(std::int64_t row, std::int64_t column) const;
};

// A picture has at most kHeatSide x kHeatSide cells: a larger map is pooled by `pool` (one that was pooled
// before, in its own way). Title and subtitle are the caller's.
inline constexpr std::int64_t kHeatSide = 512;
// Probabilities that span more are cut at this many decades below the highest.
inline constexpr double kHeatDecades = 5.0;
HeatMap MakeHeatMap(AttentionMap map, AttentionMap::Pool pool, std::int64_t train_length);

// At a size in pixels (at least 360 x 360): the map is a square in it, queries downwards.
Drawing LayOut(const HeatMap& heat, int width, int height);

struct HeatTextStyle {
  int width = 64;  // characters of the map, at most
  bool ascii = false;
  bool colour = false;  // half blocks in 24-bit colours, else shades
};
std::string RenderHeatText(const HeatMap& heat, const HeatTextStyle& style);

// The numbers that are drawn; null where nothing is visible.
Json HeatMapJson(const HeatMap& heat);

}  // namespace longrun
