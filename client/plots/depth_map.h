// Retrieval as a heat map, depth by context length: the data (DepthMap) and its output forms.
// LayOut places it once for SVG, PNG and PDF; the terminal shows the numbers (depth_map_text.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "client/plots/drawing.h"
#include "client/tables/pivot.h"

namespace longrun::client {

struct DepthCell {
  // As in PivotCell: "ok" if there is a number, "not_asked" if no evaluation asks for one.
  std::string status = "not_asked";
  std::optional<double> value = {};                      // a share, 0 to 1
  std::optional<std::pair<double, double>> ends95 = {};  // of the 95 % interval
  std::int64_t n = 0;                                    // answers
};

// One row of a table: a model, or a model under an extension.
struct DepthMap {
  std::string title = {};     // "recall by depth, context length (gali)"
  std::string name = {};      // what sets the row apart from the others; "" if it is the only one
  std::string quantity = {};  // "recall"
  std::vector<std::string> lengths = {};  // column heads, in the table's order
  std::vector<double> depths = {};        // ascending: the share of the filler before the key
  std::vector<DepthCell> cells = {};      // a row of `lengths.size()` cells for each depth
  std::vector<DepthCell> all = {};        // over all depths, for each length; empty if not measured
  // The number of columns up to the train length; 0 or all of them: there is no border to draw.
  std::size_t n_within_train = 0;
  std::int64_t train_length = 0;  // 0: unknown

  const DepthCell& At(std::size_t depth, std::size_t length) const {
    return cells[depth * lengths.size() + length];
  }
};

// Changes a request for tables into one of which DepthMapsOf can make maps: the metric recall
// unless there is one, and depth and context length as columns. kInvalidArgument if it has columns.
Result<PivotRequest> ByDepth(PivotRequest request);

// A map for each row of the tables that has depths. kInvalidArgument if a table does not show
// shares.
Result<std::vector<DepthMap>> DepthMapsOf(const std::vector<PivotTable>& tables);

// "12%".
std::string Percent(double share);
bool HasNumbers(const DepthMap& map);
// The lengths without a number, and at which depths unless at all of them:
// "not_applicable at 128, 512 (depth 50%)".
std::vector<std::string> NotesOf(const DepthMap& map);

// Lays the map out at a size in pixels (at least 360 x 240): depths downwards, a number in each
// cell that is large enough.
Drawing LayOut(const DepthMap& map, int width, int height);

// The numbers that are drawn; null for a cell without one.
Json DepthMapJson(const DepthMap& map);

}  // namespace longrun::client
