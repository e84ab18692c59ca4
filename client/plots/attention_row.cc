// One row of the map as a curve: A[q][k] by key k, or what is left of it after the reference's.
#include <algorithm>
#include <cmath>
#include <utility>

#include "base/str.h"
#include "client/plots/attention_view.h"

namespace longrun::client {
namespace {

constexpr double kLogFromRatio = 20.0;   // from here on, equal steps would hide small values
constexpr std::size_t kMarkersMax = 24;  // points per line; more marks would touch

Result<AttentionPicture> DrawRow(const AttentionViewInput& input) {
  RETURN_IF_ERROR(CheckQueries(input));
  const AttentionMap& first = input.maps.front().map;
  const std::vector<std::int64_t> queries =
      input.queries.empty() ? std::vector{first.n_tokens - 1} : input.queries;
  const std::string minus = input.reference ? Str(", minus ", input.reference->name) : "";
  Plot plot{.title = Str(queries.size() == 1 ? Str("Attention of ", QueryText(first, queries[0]))
                                             : std::string("Attention of queries"),
                         minus, " (", input.origin, ")"),
            .x_label = "key (token)",
            .y_label = Str(ValueLabel(first), minus),
            .marks_label = "train length"};
  double low = INFINITY, high = 0.0;
  for (const ViewedMap& viewed : input.maps) {
    AttentionMap map = viewed.map;
    if (input.reference) {
      ASSIGN_OR_RETURN(map, AttentionDifference(map, input.reference->map));
    }
    for (const std::int64_t query : queries) {
      PlotSeries series{.name = viewed.name, .group = viewed.name};
      if (queries.size() > 1) series.name += Str(", ", QueryText(map, query));
      for (const RowValue& at : RowOf(map, query)) {
        series.points.push_back({.x = at.key, .y = at.value});
        low = std::min(low, at.value);
        high = std::max(high, at.value);
      }
      if (series.points.empty()) series.note = "sees no key";
      if (series.points.size() > kMarkersMax) plot.has_markers = false;
      plot.series.push_back(std::move(series));
    }
  }
  SetStyles(plot);
  plot.y_is_log = low > 0.0 && high > kLogFromRatio * low;
  const bool is_inside = input.train_length > 0 && input.train_length < first.n_tokens;
  if (is_inside) plot.marks_x = {static_cast<double>(input.train_length)};
  if (first.block > 1) {
    plot.legend = Str("a point is the ", PoolName(first.pooled_by), " over ", first.block, " x ",
                      first.block, " pairs of tokens");
  }
  return AttentionPicture(std::move(plot));
}

}  // namespace

const AttentionView& AttentionRowView() {
  static const AttentionView view = {
      .name = "row",
      .meaning = "the attention of one query (--row; default: the last) by key, as a curve",
      .draw = &DrawRow,
      .takes_queries = true};
  return view;
}

}  // namespace longrun::client
