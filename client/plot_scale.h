// An axis of a plot: where a value lies, and which values get a tick.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace longrun {

struct PlotScale {
  double low = 0.0;  // of the data, with room around it
  double high = 1.0;
  bool is_log = false;

  // 0 at low, 1 at high.
  double Unit(double value) const;
};

// Spans `values` with `room` of the range on either side. Of nothing: 0 to 1, or 1 to 10.
PlotScale ScaleOf(const std::vector<double>& values, bool is_log, double room);

// The scale without what lies beyond its quantity's ends, as the room around a share of 1 does.
PlotScale Within(PlotScale scale, std::optional<double> least, std::optional<double> most);

// About `count` round numbers within the scale: steps of 1, 2 or 5, where `is_whole` never less than 1; on
// a logarithmic one 1, 2, 5 of each decade, or the decades alone where those are many.
std::vector<double> Ticks(const PlotScale& scale, int count, bool is_whole = false);

// Whether each of the values may have a tick of its own: few of them, and whole numbers.
bool AreTicks(const std::vector<double>& values);

// "0.5", "1024", "2M", "1.5B"; from 1000 T on "1e15".
std::string TickText(double value);

}  // namespace longrun
