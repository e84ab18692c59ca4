#include "client/plots/plot.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/str.h"

namespace longrun::client {

std::optional<std::pair<double, double>> PlotPoint::Band() const {
  if (!ends95 && !half95) return std::nullopt;
  const std::pair<double, double> band = ends95 ? *ends95 : std::pair(y - *half95, y + *half95);
  return std::isfinite(band.second - band.first) ? std::optional(band) : std::nullopt;
}

bool HasPoints(const Plot& plot) {
  return std::ranges::any_of(plot.series, [](const PlotSeries& series) {
    return std::ranges::any_of(series.points,
                               [](const PlotPoint& point) { return std::isfinite(point.y); });
  });
}

std::vector<std::string> NotesOf(const Plot& plot) {
  std::vector<std::string> notes;
  for (const PlotSeries& series : plot.series) {
    if (!series.note.empty()) notes.push_back(Str(series.name, ": ", series.note));
  }
  return notes;
}

void SetStyles(Plot& plot) {
  const auto number_of = [](std::vector<std::string>& known, const std::string& name) {
    const auto at = std::ranges::find(known, name);
    const auto number = static_cast<int>(at - known.begin());
    if (at == known.end()) known.push_back(name);
    return number;
  };
  std::vector<std::string> groups, members;
  for (PlotSeries& series : plot.series) {
    series.hue = number_of(groups, series.group.empty() ? series.name : series.group);
  }
  const bool has_members = groups.size() < plot.series.size();
  for (std::size_t s = 0; s < plot.series.size(); ++s) {
    PlotSeries& series = plot.series[s];
    const bool is_member = has_members && !series.is_baseline;
    const std::string member = series.name.starts_with(series.group)
                                   ? series.name.substr(series.group.size())
                                   : series.name;
    series.dash = is_member ? number_of(members, member) : 0;
    series.symbol = is_member ? series.dash : static_cast<int>(s);
  }
}

Json PlotJson(const Plot& plot) {
  const auto number = [](double value) { return std::isfinite(value) ? Json(value) : Json(); };
  Json json = {{"title", plot.title},       {"x_label", plot.x_label},   {"y_label", plot.y_label},
               {"x_is_log", plot.x_is_log}, {"y_is_log", plot.y_is_log}, {"marks_x", plot.marks_x},
               {"series", Json::array()}};
  for (const PlotSeries& series : plot.series) {
    Json points = Json::array();
    for (const PlotPoint& point : series.points) {
      points.push_back({{"x", number(point.x)},
                        {"y", number(point.y)},
                        {"se", point.se ? number(*point.se) : Json()},
                        {"half95", point.half95 ? number(*point.half95) : Json()},
                        {"at_train_length", point.is_marked}});
      if (const auto& ends = point.ends95) {
        points.back()["ci95"] = Json::array({number(ends->first), number(ends->second)});
      }
    }
    json["series"].push_back({{"name", series.name},
                              {"baseline", series.is_baseline},
                              {"note", series.note},
                              {"points", std::move(points)}});
  }
  return json;
}

}  // namespace longrun::client
