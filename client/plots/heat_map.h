// A heat map of attention: the data (HeatMap) and its output forms. LayOut places it once for SVG,
// PNG and PDF (plot_svg.h, plot_cairo.h); the terminal has its own form (heat_map_text.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "client/plots/drawing.h"
#include "client/plots/plot_scale.h"
#include "model/attention_map.h"

namespace longrun::client {

struct HeatMap {
  std::string title = {};
  std::vector<std::string> subtitle = {};
  std::vector<std::string> notes = {};  // shown below: how it was pooled, limits of the colours
  AttentionMap map = {};
  bool is_difference = false;     // of two maps; the scale is then linear, with 0 in its middle
  std::int64_t train_length = 0;  // drawn as a line if it lies within the map; 0: unknown
  // The scale of the colours: logarithmic for probabilities, linear for logits.
  // Values below `low` get its colour.
  PlotScale scale = {};

  // A cell's place on the colour scale, 0 to 1; nullopt if none of its pairs is visible or its
  // value is not a number.
  std::optional<double> UnitAt(std::int64_t row, std::int64_t column) const;
};

// A picture has at most kHeatSide x kHeatSide cells: a larger map is pooled by `pool` (a map that
// was pooled before keeps its kind of pooling). The caller sets title and subtitle.
inline constexpr std::int64_t kHeatSide = 512;
// The scale of probabilities covers at most this many decades below the highest.
inline constexpr double kHeatDecades = 5.0;
HeatMap MakeHeatMap(AttentionMap map, AttentionMap::Pool pool, std::int64_t train_length,
                    bool is_difference = false);

// Lays the map out at a size in pixels (at least 360 x 360): a square, with queries downwards.
Drawing LayOut(const HeatMap& heat, int width, int height);

// The numbers that are drawn; null for a cell that shows nothing.
Json HeatMapJson(const HeatMap& heat);

}  // namespace longrun::client
