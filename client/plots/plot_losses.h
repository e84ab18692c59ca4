// From training curves to a plot: runs with one name are seeds,
// averaged at each x that all of them have.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "client/plots/plot.h"
#include "client/wire/messages.h"

namespace longrun::client {

// A run's training curve, from GetSeries.
struct LossCurve {
  std::string name;        // of its series: runs of one name are seeds, and are averaged
  std::string group = {};  // of its series
  std::vector<double> x = {};
  std::vector<double> y = {};  // not finite if missing
};

// The tokens of an optimiser step of a resolved run; nullopt if the run does not train.
std::optional<double> BatchTokens(const Json& run);

// A series, with `x_per_step` of x for each optimiser step. It has no name yet.
LossCurve CurveOf(const v1::GetSeriesResponse& series, double x_per_step);

// Seeds are averaged at the x that all of them have: the mean, and its 95 % interval over seeds.
Plot PlotOfLosses(const std::vector<LossCurve>& curves, const std::string& title,
                  const std::string& x_label, const std::string& y_label);

// Keeps at most so many points of each series, evenly spaced by index, including the last. Thin a
// plot, never its curves: thinned curves of different lengths would have few x in common.
void ThinSeries(Plot& plot, std::size_t n_points_max);

}  // namespace longrun::client
