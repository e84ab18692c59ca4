// How far each map is from the reference: the sum of |A[q][k] - A_ref[q][k]| over visible pairs.
// Of pooled maps only the means of cells are known, so the sum over them is a lower bound.
#include <algorithm>
#include <cmath>
#include <utility>

#include "base/str.h"
#include "client/plots/attention_view.h"

namespace longrun::client {
namespace {

Result<AttentionPicture> DrawDistance(const AttentionViewInput& input) {
  const AttentionMap& first = input.maps.front().map;
  if (first.block > 1 && first.pooled_by == AttentionMap::Pool::kMax) {
    return Status(Code::kInvalidArgument,
                  "--view distance: the map has the largest value of each cell, which do not add "
                  "up: measure attention_map with pool_by: mean, or with pool: 0");
  }
  BarChart chart{
      .title = Str("Distance of attention from ", input.reference->name, " (", input.origin, ")"),
      .x_label = Str("sum of differences of ", ValueLabel(first), "s")};
  std::int64_t n_left_out = 0;
  for (const ViewedMap& viewed : input.maps) {
    ASSIGN_OR_RETURN(const AttentionMap difference,
                     AttentionDifference(viewed.map, input.reference->map));
    const std::int64_t side = difference.Side();
    double sum = 0.0;
    for (std::int64_t r = 0; r < side; ++r) {
      for (std::int64_t c = 0; c < side; ++c) {
        const double value = difference.values[static_cast<std::size_t>(r * side + c)];
        const std::int64_t n_pairs = difference.VisiblePairs(r, c);
        if (n_pairs == 0) continue;
        if (std::isnan(value)) {
          n_left_out += n_pairs;
        } else {
          sum += std::abs(value) * static_cast<double>(n_pairs);
        }
      }
    }
    chart.rows.push_back({.name = viewed.name, .value = sum});
  }
  if (first.block > 1) {
    chart.notes.push_back(Str("at least this much: the maps have the means of ", first.block, " x ",
                              first.block, " pairs"));
  }
  if (n_left_out > 0) {
    chart.notes.push_back(Str(n_left_out, " pairs that one of two maps hides are left out"));
  }
  return AttentionPicture(std::move(chart));
}

}  // namespace

const AttentionView& AttentionDistanceView() {
  static const AttentionView view = {
      .name = "distance",
      .meaning =
          "how far each extension's map is from that of --minus: the sum of |differences|, "
          "as bars",
      .draw = &DrawDistance,
      .needs_reference = true};
  return view;
}

}  // namespace longrun::client
