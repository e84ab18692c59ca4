// A map as numbers for other programs.
#pragma once

#include <string>

#include "client/plots/heat_map.h"
#include "model/attention_map.h"

namespace longrun::client {

// NumPy's format, version 1.0: float32 of shape (S, S), a row for each query; for `numpy.load`.
std::string AttentionMapNpy(const AttentionMap& map);
// A line for each row of the picture, with the numbers of its cells; nothing for a cell that shows
// nothing.
std::string HeatMapCsv(const HeatMap& heat);

}  // namespace longrun::client
