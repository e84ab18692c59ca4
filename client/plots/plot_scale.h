// An axis of a plot: the place of a value, and the values with ticks.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace longrun::client {

struct PlotScale {
  double low = 0.0;  // of the data, with room around it
  double high = 1.0;
  bool is_log = false;

  // 0 at low, 1 at high.
  double Unit(double value) const;
};

// Spans `values`, with `room` times the range added on either side. Without values:
// 0 to 1, or 1 to 10.
PlotScale ScaleOf(const std::vector<double>& values, bool is_log, double room);

// Cuts the scale at the limits of its quantity, for example the room above a share of 1.
PlotScale Within(PlotScale scale, std::optional<double> least, std::optional<double> most);

// About `count` round numbers within the scale, in steps of 1, 2 or 5 times a power of ten; with
// `is_whole`, a step is at least 1. On a logarithmic scale: 1, 2 and 5 of each decade, or only the
// decades if there are many.
std::vector<double> Ticks(const PlotScale& scale, int count, bool is_whole = false);

// Whether each value may have its own tick: few values, all integers.
bool AreTicks(const std::vector<double>& values);

// "0.5", "1024", "2M", "1.5B"; "1e15" from 1000 T.
std::string TickText(double value);

}  // namespace longrun::client
