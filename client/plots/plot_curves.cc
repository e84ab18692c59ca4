#include "client/plots/plot_curves.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "base/str.h"
#include "client/tables/by_position.h"
#include "client/tables/table_parts.h"
#include "client/words/joined.h"
#include "client/words/position_range.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

constexpr double kLogFromRatio = 20.0;     // from here on, equal steps would hide small values
constexpr std::size_t kMarkedLengths = 3;  // with more, only the rings at the points mark them
constexpr std::size_t kMarkersMax = 24;    // points per line; more marks would touch
constexpr std::size_t kNamedMax = 4;       // points that a note names; of more, it has the number

bool IsByPosition(const PivotTable& table) { return table.col_axes.front() == kPositionAxis; }

// A column's place on the x axis.
double XOf(const Json& column) {
  return IsPositionRange(column) ? MiddleOf(column) : column.get<double>();
}

// The cells of a row that a plot cannot draw: "not_applicable at 128, 256; inf at 512".
std::string NoteOf(const PivotTable& table, const PivotRow& row) {
  std::vector<std::pair<std::string, std::vector<std::string>>> reasons;
  for (std::size_t c = 0; c < row.cells.size(); ++c) {
    const PivotCell& cell = row.cells[c];
    if (cell.status == "not_asked" || (cell.value && std::isfinite(*cell.value))) continue;
    const std::string reason = cell.value ? "inf" : cell.status;
    auto at = std::ranges::find(reasons, reason, [](const auto& one) { return one.first; });
    if (at == reasons.end()) at = reasons.insert(at, {reason, {}});
    at->second.push_back(AxisText(table.columns[c].front()));
  }
  std::vector<std::string> notes;
  notes.reserve(reasons.size());
  // The buckets of one row all lack their numbers for the same reason.
  const bool is_whole = IsByPosition(table) && reasons.size() == 1;
  for (const auto& [status, lengths] : reasons) {
    notes.push_back(is_whole ? status : Str(status, " at ", Join(lengths, ", ")));
  }
  return Join(notes, "; ");
}

PlotSeries SeriesOf(const PivotTable& table, const PivotRow& row) {
  const std::vector<std::string> parts = RowName(table, row);
  PlotSeries series{.name = JoinLabels(parts),
                    .note = NoteOf(table, row),
                    .is_baseline = !row.baseline.empty(),
                    .group = parts.empty() ? std::string() : parts.front()};
  std::vector<std::string> without_band;
  std::size_t n_intervals = 0;
  for (std::size_t c = 0; c < row.cells.size(); ++c) {
    const PivotCell& cell = row.cells[c];
    const bool is_positive = cell.metric.is_speed() || cell.metric.is_bytes();
    const bool is_symmetric = !IsShare(table, cell) && !IsLog(table, cell) && !is_positive;
    // A length that only another sweep asked for is not a gap in this line.
    if (cell.status == "not_asked") continue;
    series.points.push_back({.x = XOf(table.columns[c].front()),
                             .y = cell.value.value_or(std::numeric_limits<double>::quiet_NaN()),
                             .se = cell.se,
                             .half95 = cell.half95,
                             .ends95 = is_symmetric ? std::nullopt : Interval95(table, cell),
                             .is_marked = cell.at_train_length});
    const PlotPoint& point = series.points.back();
    const bool has_interval = point.half95 || point.ends95;
    if (!has_interval || !std::isfinite(point.y)) continue;
    n_intervals += 1;
    if (!point.Band()) without_band.push_back(AxisText(table.columns[c].front()));
  }
  if (!without_band.empty()) {
    const std::string where = without_band.size() <= kNamedMax
                                  ? Join(without_band, ", ")
                                  : Str(without_band.size(), " of ", n_intervals, " points");
    series.note += Str(series.note.empty() ? "" : "; ", "no band at ", where,
                       ", where the interval has no end");
  }
  return series;
}

void ChooseScale(Plot& plot) {
  double low = std::numeric_limits<double>::infinity();
  double high = 0.0;
  for (const PlotSeries& series : plot.series) {
    for (const PlotPoint& point : series.points) {
      if (!std::isfinite(point.y)) continue;
      low = std::min(low, point.y);
      high = std::max(high, point.y);
    }
  }
  plot.y_is_log = !plot.y_most && low > 0.0 && high > kLogFromRatio * low;
}

// Converts bytes to KiB, MiB or GiB: the largest unit that the largest number reaches.
void InUnits(Plot& plot) {
  double high = 0.0;
  for (const PlotSeries& series : plot.series) {
    for (const PlotPoint& point : series.points) {
      if (std::isfinite(point.y)) high = std::max(high, point.y);
    }
  }
  double unit = 1.0;
  const char* name = "bytes";
  for (const char* larger : {"KiB", "MiB", "GiB", "TiB"}) {
    if (high < 1024.0 * unit) break;
    unit *= 1024.0;
    name = larger;
  }
  for (PlotSeries& series : plot.series) {
    for (PlotPoint& point : series.points) {
      point.y /= unit;
      if (point.se) *point.se /= unit;
      if (point.half95) *point.half95 /= unit;
      if (point.ends95) point.ends95 = {point.ends95->first / unit, point.ends95->second / unit};
    }
  }
  plot.y_label += Str(" (", name, ")");
}

Plot PlotOf(const PivotTable& table) {
  Plot plot{.title = TableTitle(table),
            .x_label = IsByPosition(table) ? "tokens of context" : "context length (tokens)",
            .y_label = table.metrics.front().words() + (table.relative ? ", relative"
                                                        : !table.against.empty()
                                                            ? ", against " + table.against
                                                            : std::string()),
            .x_is_log = true,
            .has_markers = !IsByPosition(table) || table.columns.size() <= kMarkersMax,
            .marks_label = "train length"};
  std::set<double> marks;
  for (const PivotRow& row : table.rows) {
    plot.series.push_back(SeriesOf(table, row));
    for (const PivotCell& cell : row.cells) {
      if (cell.at_train_length) marks.insert(static_cast<double>(cell.train_length));
    }
  }
  SetStyles(plot);
  if (marks.size() <= kMarkedLengths) plot.marks_x.assign(marks.begin(), marks.end());
  const std::string errors = BandLegend(table);
  std::vector<std::string> legend;
  if (!errors.empty()) legend.push_back("band: " + errors);
  if (plot.has_markers) legend.emplace_back("ring: train length");
  plot.picture_legend = Join(legend, "; ");
  const bool is_compared = table.relative || !table.against.empty();
  if (table.metrics.front().is_bytes() && !is_compared) InUnits(plot);
  if (table.metrics.front().is_share() && !is_compared) {
    plot.y_least = 0.0;
    plot.y_most = 1.0;
  }
  ChooseScale(plot);
  return plot;
}

// Throughputs of different directions differ widely and are not compared, so each gets a plot.
std::vector<PivotTable> ByVariant(const PivotTable& table) {
  const auto axis = std::ranges::find(table.row_axes, "variant");
  if (axis == table.row_axes.end() || table.metrics.front().variants_are_models()) return {table};
  const auto at = axis - table.row_axes.begin();
  std::vector<Json> variants;
  for (const PivotRow& row : table.rows) {
    const Json& variant = row.key[static_cast<std::size_t>(at)];
    if (std::ranges::find(variants, variant) == variants.end()) variants.push_back(variant);
  }
  std::vector<PivotTable> parts;
  parts.reserve(variants.size());
  for (const Json& variant : variants) {
    PivotTable part = table;
    part.row_axes.erase(part.row_axes.begin() + at);
    part.fixed.emplace_back("variant", variant);
    part.rows.clear();
    for (const PivotRow& row : table.rows) {
      if (row.key[static_cast<std::size_t>(at)] != variant) continue;
      part.rows.push_back(row);
      part.rows.back().key.erase(part.rows.back().key.begin() + at);
    }
    parts.push_back(std::move(part));
  }
  return parts;
}

}  // namespace

Result<std::vector<Plot>> PlotsOfTables(const std::vector<PivotTable>& tables) {
  std::vector<Plot> plots;
  plots.reserve(tables.size());
  for (const PivotTable& table : tables) {
    const bool by_position = table.metrics.front().is_by_position();
    const std::string across(by_position ? kPositionAxis : "context_length");
    if (table.col_axes != std::vector<std::string>{across} || table.metrics.size() != 1) {
      std::vector<std::string> metrics;
      metrics.reserve(table.metrics.size());
      for (const ResultMetric& metric : table.metrics) metrics.push_back(metric.name);
      return Status(
          Code::kInvalidArgument,
          Str("a plot shows one metric by ", by_position ? "tokens of context" : "context length",
              ", but this table has ",
              table.col_axes.empty() ? "no columns"
                                     : Str("columns by ", Join(table.col_axes, ", ")),
              " and the ", metrics.size() == 1 ? "metric " : "metrics ", Join(metrics, ", "),
              ": leave --cols out, and give one --metric"));
    }
    const bool has_lengths = std::ranges::all_of(table.columns, [](const auto& column) {
      return column.front().is_number() || IsPositionRange(column.front());
    });
    if (!has_lengths) {
      return Status(Code::kInvalidArgument,
                    Str(table.metrics.front().name,
                        " has no context length, so it cannot be drawn: choose another --metric"));
    }
    for (const PivotTable& part : ByVariant(table)) plots.push_back(PlotOf(part));
  }
  return plots;
}

}  // namespace longrun::client
