// The spread of a query's attention over its keys: a box for each query and map, without outliers.
#include <algorithm>
#include <cmath>
#include <utility>

#include "base/str.h"
#include "client/plots/attention_view.h"

namespace longrun::client {
namespace {

constexpr std::int64_t kQueries = 8;    // unless they are given: evenly spaced, with the last
constexpr double kLogFromRatio = 20.0;  // from here on, equal steps would hide small values

std::vector<std::int64_t> Queries(const AttentionViewInput& input) {
  if (!input.queries.empty()) return input.queries;
  const std::int64_t n = input.maps.front().map.n_tokens;
  std::vector<std::int64_t> queries;
  for (std::int64_t i = 1; i <= kQueries; ++i) {
    const std::int64_t query = std::max<std::int64_t>(0, n * i / kQueries - 1);
    if (queries.empty() || queries.back() != query) queries.push_back(query);
  }
  return queries;
}

Result<AttentionPicture> DrawBoxes(const AttentionViewInput& input) {
  RETURN_IF_ERROR(CheckQueries(input));
  const AttentionMap& first = input.maps.front().map;
  const std::string minus = input.reference ? Str(", minus ", input.reference->name) : "";
  BarChart chart{.title = Str("Spread of attention over keys", minus, " (", input.origin, ")"),
                 .x_label = Str(ValueLabel(first), minus)};
  double low = INFINITY, high = 0.0;
  std::vector<AttentionMap> maps;
  for (const ViewedMap& viewed : input.maps) {
    maps.push_back(viewed.map);
    if (input.reference) {
      ASSIGN_OR_RETURN(maps.back(), AttentionDifference(viewed.map, input.reference->map));
    }
  }
  for (const std::int64_t query : Queries(input)) {
    for (std::size_t m = 0; m < maps.size(); ++m) {
      std::vector<double> values;
      for (const RowValue& at : RowOf(maps[m], query)) values.push_back(at.value);
      const std::optional<Quartiles> box = QuartilesOf(std::move(values));
      const std::string name =
          Str(QueryText(maps[m], query), maps.size() > 1 ? Str(", ", input.maps[m].name) : "");
      if (!box) {
        chart.notes.push_back(Str(name, ": sees no key"));
        continue;
      }
      chart.rows.push_back({.name = name, .group = input.maps[m].name, .box = box});
      low = std::min(low, box->low);
      high = std::max(high, box->high);
    }
  }
  chart.x_is_log = low > 0.0 && high > kLogFromRatio * low;
  chart.notes.emplace_back(
      "box: quartiles and median over keys; whiskers: at most 1.5 times the box; no outliers");
  if (first.block > 1) {
    chart.notes.push_back(Str("a value is the ", PoolName(first.pooled_by), " over ", first.block,
                              " x ", first.block, " pairs of tokens"));
  }
  return AttentionPicture(std::move(chart));
}

}  // namespace

const AttentionView& AttentionBoxView() {
  static const AttentionView view = {
      .name = "box",
      .meaning =
          "the spread of some queries' attention over their keys (--row; default: eight "
          "queries), as boxes of quartiles",
      .draw = &DrawBoxes,
      .takes_queries = true};
  return view;
}

}  // namespace longrun::client
