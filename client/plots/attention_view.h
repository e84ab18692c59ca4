// What follows from an attention map: views of it, and of its difference from a reference, as
// GALI's authors analyse their method (docs/evaluation.md). A view is one file and one line of the
// registry (attention_view.cc).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/status.h"
#include "client/plots/bar_chart.h"
#include "client/plots/plot.h"
#include "model/attention_map.h"

namespace longrun::client {

struct ViewedMap {
  std::string name;  // of its extension: "none", "yarn(factor=4)"
  AttentionMap map;
};

// Maps of one text with the same parameters.
struct AttentionViewInput {
  std::vector<ViewedMap> maps = {};
  std::optional<ViewedMap> reference = {};
  std::vector<std::int64_t> queries = {};  // of `row` and `box`; empty: the view chooses
  std::int64_t every = 0;                  // of `entropy`: a point for each so many queries; 0: the
                                           // view chooses
  std::string origin = {};                 // of the maps, for the end of a title
  std::int64_t train_length = 0;           // 0: unknown
};

using AttentionPicture = std::variant<Plot, BarChart>;

struct AttentionView {
  std::string_view name;
  std::string_view meaning;  // for the help
  Result<AttentionPicture> (*draw)(const AttentionViewInput&) = nullptr;
  bool needs_reference = false;
  bool takes_queries = false;
  bool takes_every = false;
};

std::span<const AttentionView* const> AttentionViews();
// nullptr: there is none.
const AttentionView* FindAttentionView(std::string_view name);

const AttentionView& AttentionRowView();
const AttentionView& AttentionEntropyView();
const AttentionView& AttentionDistanceView();
const AttentionView& AttentionBoxView();

// ---- for the views -----------------------------------------------------------------------------

// kInvalidArgument for a query that the maps do not have.
Status CheckQueries(const AttentionViewInput& input);
// The values of the map's row that has the query, over the keys that it sees, and the middle of
// each value's keys. A pooled map's row is that of all its queries.
struct RowValue {
  double key = 0.0;
  double value = 0.0;
};
std::vector<RowValue> RowOf(const AttentionMap& map, std::int64_t query);
// "query 63", or the queries of its row in a pooled map: "queries 56 to 63".
std::string QueryText(const AttentionMap& map, std::int64_t query);
// "attention" or "attention logit".
std::string ValueLabel(const AttentionMap& map);

}  // namespace longrun::client
