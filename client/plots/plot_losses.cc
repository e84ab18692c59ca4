#include "client/plots/plot_losses.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "base/str.h"
#include "client/plots/plot_scale.h"
#include "client/tables/estimate.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

constexpr std::size_t kMarkedPoints = 24;  // with more, marks would touch

PlotSeries Fold(const std::string& name, const std::vector<const LossCurve*>& curves) {
  std::map<double, std::vector<Reading>> at;
  std::set<double> not_finite;
  for (const LossCurve* curve : curves) {
    for (std::size_t i = 0; i < curve->x.size(); ++i) {
      if (std::isfinite(curve->y[i])) {
        at[curve->x[i]].push_back({.x = curve->y[i]});
      } else {
        not_finite.insert(curve->x[i]);
      }
    }
  }
  PlotSeries series{.name = name, .group = curves.front()->group};
  std::int64_t n_left_out = 0;
  for (const auto& [x, readings] : at) {
    if (readings.size() < curves.size()) {
      ++n_left_out;
      continue;
    }
    const Estimate mean = MeanOf(readings);
    series.points.push_back(
        {.x = x, .y = mean.x, .se = mean.seeds.se, .half95 = mean.seeds.half95()});
  }
  std::vector<std::string> notes;
  if (!not_finite.empty()) {
    notes.push_back(Str("no finite number at ",
                        Counted(static_cast<std::int64_t>(not_finite.size()), "point"),
                        ", the first at ", TickText(*not_finite.begin())));
  }
  if (n_left_out > 0) {
    notes.push_back(Str(Counted(n_left_out, "point"), " left out, since not every seed has them"));
  }
  if (at.empty() && not_finite.empty()) notes.emplace_back("no points");
  series.note = Join(notes, "; ");
  return series;
}

}  // namespace

std::optional<double> BatchTokens(const Json& run) {
  const Json& train = run.at("train");
  const auto batch = train.find("batch_tokens");
  if (batch == train.end()) return std::nullopt;
  return batch->get<double>();
}

LossCurve CurveOf(const v1::GetSeriesResponse& series, double x_per_step) {
  LossCurve curve;
  for (int i = 0; i < series.step_size(); ++i) {
    const double value = series.value(i);
    curve.x.push_back(static_cast<double>(series.step(i)) * x_per_step);
    curve.y.push_back(std::isfinite(value) ? value : std::numeric_limits<double>::quiet_NaN());
  }
  return curve;
}

Plot PlotOfLosses(const std::vector<LossCurve>& curves, const std::string& title,
                  const std::string& x_label, const std::string& y_label) {
  Plot plot{.title = title, .x_label = x_label, .y_label = y_label};
  std::vector<std::string> names;
  std::map<std::string, std::vector<const LossCurve*>> by_name;
  for (const LossCurve& curve : curves) {
    if (std::ranges::find(names, curve.name) == names.end()) names.push_back(curve.name);
    by_name[curve.name].push_back(&curve);
  }
  double low = INFINITY;
  double high = 0.0;
  bool has_band = false;
  for (const std::string& name : names) {
    plot.series.push_back(Fold(name, by_name.at(name)));
    for (const PlotPoint& point : plot.series.back().points) {
      low = std::min(low, point.y);
      high = std::max(high, point.y);
      has_band = has_band || point.half95.has_value();
    }
    if (plot.series.back().points.size() > kMarkedPoints) plot.has_markers = false;
  }
  SetStyles(plot);
  plot.y_is_log = low > 0.0 && high > 20.0 * low;
  if (has_band) {
    plot.legend = "line: mean over seeds";
    plot.picture_legend = "band: 95 % interval over seeds";
  }
  return plot;
}

void ThinSeries(Plot& plot, std::size_t n_points_max) {
  for (PlotSeries& series : plot.series) {
    const std::size_t n = series.points.size();
    if (n <= n_points_max) continue;
    std::vector<PlotPoint> kept;
    for (std::size_t i = 1; i <= n_points_max; ++i) {
      kept.push_back(series.points[i * n / n_points_max - 1]);
    }
    series.points = std::move(kept);
  }
}

}  // namespace longrun::client
