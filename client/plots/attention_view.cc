#include "client/plots/attention_view.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/str.h"

namespace longrun::client {

std::span<const AttentionView* const> AttentionViews() {
  static const std::array views = {&AttentionRowView(), &AttentionEntropyView(),
                                   &AttentionDistanceView(), &AttentionBoxView()};
  return views;
}

const AttentionView* FindAttentionView(std::string_view name) {
  const auto views = AttentionViews();
  const auto found = std::ranges::find(views, name, [](const auto* view) { return view->name; });
  return found == views.end() ? nullptr : *found;
}

Status CheckQueries(const AttentionViewInput& input) {
  const std::int64_t n = input.maps.front().map.n_tokens;
  for (const std::int64_t query : input.queries) {
    if (query >= 0 && query < n) continue;
    return Status(Code::kInvalidArgument,
                  Str("--row ", query, ": the map has the queries 0 to ", n - 1));
  }
  return {};
}

std::vector<RowValue> RowOf(const AttentionMap& map, std::int64_t query) {
  const std::int64_t side = map.Side(), row = query / map.block;
  std::vector<RowValue> values;
  for (std::int64_t c = 0; c < side; ++c) {
    const double value = map.values[static_cast<std::size_t>(row * side + c)];
    if (map.VisiblePairs(row, c) == 0 || std::isnan(value)) continue;
    const std::int64_t first = c * map.block, last = std::min(map.n_tokens, first + map.block) - 1;
    values.push_back({.key = static_cast<double>(first + last) / 2.0, .value = value});
  }
  return values;
}

std::string QueryText(const AttentionMap& map, std::int64_t query) {
  if (map.block == 1) return Str("query ", query);
  const std::int64_t first = query / map.block * map.block;
  return Str("queries ", first, " to ", std::min(map.n_tokens, first + map.block) - 1);
}

std::string ValueLabel(const AttentionMap& map) {
  return map.values_of == AttentionMap::Values::kLogits ? "attention logit" : "attention";
}

}  // namespace longrun::client
