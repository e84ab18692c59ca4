// From training curves to a plot: runs with one name are seeds,
// averaged at each x that all of them have.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "client/plots/plot.h"

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

// Seeds are averaged at the x that all of them have: the mean, and its 95 % interval over seeds.
Plot PlotOfLosses(const std::vector<LossCurve>& curves, const std::string& title,
                  const std::string& x_label, const std::string& y_label);

}  // namespace longrun::client
