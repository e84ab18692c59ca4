#include "client/plots/depth_map.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "base/str.h"
#include "client/plots/colour_bar.h"
#include "client/plots/plot_letters.h"
#include "client/plots/plot_size.h"
#include "client/tables/table_parts.h"
#include "client/words/joined.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

constexpr std::string_view kDepth = "depth";
constexpr std::string_view kContextLength = "context_length";
constexpr PlotScale kShares = {.low = 0.0, .high = 1.0};

// ---- from tables --------------------------------------------------------------------------------

DepthCell CellOf(const PivotTable& table, const PivotCell& cell) {
  return {.status = cell.status,
          .value = cell.value && std::isfinite(*cell.value) ? cell.value : std::nullopt,
          .ends95 = Interval95(table, cell),
          .n = cell.n};
}

// The columns of a table by depth and context length.
struct Grid {
  std::vector<Json> lengths = {};
  std::vector<double> depths = {};
};

Grid GridOf(const PivotTable& table) {
  Grid grid;
  std::set<double> depths;
  for (const std::vector<Json>& column : table.columns) {
    if (column[0].is_number()) depths.insert(column[0].get<double>());
    if (std::ranges::find(grid.lengths, column[1]) == grid.lengths.end()) {
      grid.lengths.push_back(column[1]);
    }
  }
  grid.depths.assign(depths.begin(), depths.end());
  return grid;
}

std::optional<DepthMap> MapOfRow(const PivotTable& table, const PivotRow& row, const Grid& grid) {
  const std::size_t n_lengths = grid.lengths.size();
  DepthMap map{.title = TableTitle(table),
               .name = JoinLabels(RowName(table, row)),
               .quantity = table.metrics.front().words(),
               .depths = grid.depths,
               .cells = std::vector<DepthCell>(grid.depths.size() * n_lengths)};
  for (const Json& length : grid.lengths) map.lengths.push_back(AxisText(length));
  std::vector<DepthCell> all(n_lengths);
  bool has_depths = false, has_all = false;
  for (std::size_t c = 0; c < row.cells.size(); ++c) {
    const PivotCell& cell = row.cells[c];
    if (cell.train_length > 0) map.train_length = cell.train_length;
    if (cell.status == "not_asked") continue;
    const Json& depth = table.columns[c][0];
    const auto length = static_cast<std::size_t>(
        std::ranges::find(grid.lengths, table.columns[c][1]) - grid.lengths.begin());
    if (!depth.is_number()) {
      all[length] = CellOf(table, cell);
      has_all = true;
      continue;
    }
    const auto at = static_cast<std::size_t>(std::ranges::find(grid.depths, depth.get<double>()) -
                                             grid.depths.begin());
    map.cells[at * n_lengths + length] = CellOf(table, cell);
    has_depths = true;
  }
  if (!has_depths) return std::nullopt;
  if (has_all) map.all = std::move(all);
  for (const Json& length : grid.lengths) {
    if (length.is_number() && length.get<double>() <= static_cast<double>(map.train_length)) {
      ++map.n_within_train;
    }
  }
  return map;
}

// ---- layout -------------------------------------------------------------------------------------

std::string TipOf(const DepthMap& map, const DepthCell& cell, const std::string& place) {
  if (!cell.value) return Str(place, ": ", cell.status);
  std::string text = Str(place, ": ", map.quantity, " ", Percent(*cell.value));
  if (cell.ends95) {
    StrAppend(text, Str(" (", Percent(cell.ends95->first), " to ", Percent(cell.ends95->second),
                        ") of ", cell.n, " answers"));
  }
  return text;
}

class DepthLayout {
 public:
  DepthLayout(const DepthMap& map, int width, int height) : map_(map) {
    drawing_.width = std::max(width, kSmallestDepthMap.width);
    drawing_.height = std::max(height, kSmallestDepthMap.height);
    drawing_.title = map.name.empty() ? map.title : Str(map.title, ": ", map.name);
  }

  Drawing Place() {
    std::vector<std::string> subtitle;
    if (!map_.name.empty()) subtitle.push_back(map_.name);
    top_ = PutTitle(drawing_, map_.title, subtitle) + kTitleSize + 16;
    bottom_ = PutNotes(drawing_, NotesOf(map_)) - 4;
    Box();
    for (std::size_t d = 0; d < map_.depths.size(); ++d) PutRow(d, false);
    if (!map_.all.empty()) PutRow(map_.depths.size(), true);
    Columns();
    TrainLength();
    ColourBar(kShares, grid_bottom_ - top_).Put({.x = right_, .y = top_}, map_.quantity, drawing_);
    Describe();
    return std::move(drawing_);
  }

 private:
  // The row of all depths is set off from the others by this.
  static constexpr double kAllGap = 6.0;

  void Box() {
    double widest = TextWidth("all", kTextSize);
    for (const double depth : map_.depths) {
      widest = std::max(widest, TextWidth(Percent(depth), kTextSize));
    }
    left_ = kEdge + kTextSize + 12 + widest + 8;
    const double below = kTextSize + 20 + kTextSize + 8;  // the lengths and the axis' name
    grid_bottom_ = std::max(top_ + 60.0, bottom_ - below);
    right_ = std::max(left_ + 80.0,
                      drawing_.width - kEdge - ColourBar(kShares, grid_bottom_ - top_).Room());
    cell_width_ = (right_ - left_) / static_cast<double>(map_.lengths.size());
    const std::size_t n_rows = map_.depths.size() + (map_.all.empty() ? 0 : 1);
    const double gap = map_.all.empty() ? 0.0 : kAllGap;
    cell_height_ = (grid_bottom_ - top_ - gap) / static_cast<double>(n_rows);
  }

  void PutRow(std::size_t row, bool is_all) {
    const double y = top_ + static_cast<double>(row) * cell_height_ + (is_all ? kAllGap : 0.0);
    const std::string head = is_all ? "all" : Percent(map_.depths[row]);
    const double least = kTextSize + 2;
    // Where rows are narrower than a line of text, only some have their depth.
    const auto every = static_cast<std::size_t>(std::ceil(least / cell_height_));
    if (is_all || (row + 1) % every == 0) {
      drawing_.marks.push_back(TextMark(head, left_ - 8, y + cell_height_ / 2, Mark::Anchor::kEnd,
                                        Ink::kText, kTextSize));
    }
    const bool has_text = cell_width_ >= TextWidth("100%", kNoteSize) + 4 && cell_height_ >= least;
    for (std::size_t l = 0; l < map_.lengths.size(); ++l) {
      const DepthCell& cell = is_all ? map_.all[l] : map_.At(row, l);
      if (cell.status == "not_asked") continue;
      const double x = left_ + static_cast<double>(l) * cell_width_;
      auto image = std::make_shared<PixelImage>();
      image->width = image->height = 1;
      image->argb = {cell.value ? 0xff000000 | HeatColour(*cell.value) : 0};
      const std::string place = is_all ? Str("all depths, length ", map_.lengths[l])
                                       : Str("depth ", head, ", length ", map_.lengths[l]);
      drawing_.marks.push_back(
          {.kind = Mark::Kind::kImage,
           .points = {{.x = x, .y = y}, {.x = x + cell_width_, .y = y + cell_height_}},
           .text = TipOf(map_, cell, place),
           .image = std::move(image)});
      if (!has_text) continue;
      const Ink ink = !cell.value ? Ink::kFaintText : *cell.value < 0.6 ? Ink::kWhite : Ink::kBlack;
      drawing_.marks.push_back(TextMark(cell.value ? Percent(*cell.value) : "–",
                                        x + cell_width_ / 2, y + cell_height_ / 2,
                                        Mark::Anchor::kMiddle, ink, kNoteSize));
    }
  }

  void Columns() {
    double widest = 0.0;
    for (const std::string& length : map_.lengths) {
      widest = std::max(widest, TextWidth(length, kTextSize) + 6);
    }
    const auto every = static_cast<std::size_t>(std::ceil(widest / cell_width_));
    for (std::size_t l = 0; l < map_.lengths.size(); l += every) {
      drawing_.marks.push_back(
          TextMark(map_.lengths[l], left_ + (static_cast<double>(l) + 0.5) * cell_width_,
                   grid_bottom_ + 15, Mark::Anchor::kMiddle, Ink::kText, kTextSize));
    }
    drawing_.marks.push_back(TextMark("context length (tokens)", (left_ + right_) / 2,
                                      grid_bottom_ + 34, Mark::Anchor::kMiddle, Ink::kText,
                                      kTextSize));
    Mark depth = TextMark("depth of the key", kEdge + kTextSize / 2, (top_ + grid_bottom_) / 2,
                          Mark::Anchor::kMiddle, Ink::kText, kTextSize);
    depth.is_upright = false;
    drawing_.marks.push_back(std::move(depth));
  }

  void TrainLength() {
    if (map_.n_within_train == 0 || map_.n_within_train >= map_.lengths.size()) return;
    const double x = left_ + static_cast<double>(map_.n_within_train) * cell_width_;
    const std::vector<DrawPoint> line = {{.x = x, .y = top_ - 5}, {.x = x, .y = grid_bottom_}};
    drawing_.marks.push_back({.ink = Ink::kPaper, .points = line, .width = 2.5});
    drawing_.marks.push_back({.ink = Ink::kText, .points = line, .width = 1.2, .is_dashed = true});
    const std::string text = Str("train length ", map_.train_length);
    const double half = TextWidth(text, kNoteSize) / 2;
    drawing_.marks.push_back(
        TextMark(text, std::clamp(x, left_ + half, std::max(left_ + half, right_ - half)),
                 top_ - 12, Mark::Anchor::kMiddle, Ink::kFaintText, kNoteSize));
  }

  void Describe() {
    std::vector<std::string> parts;
    for (std::size_t l = 0; l < map_.lengths.size(); ++l) {
      std::vector<std::string> values;
      for (std::size_t d = 0; d < map_.depths.size(); ++d) {
        const DepthCell& cell = map_.At(d, l);
        if (cell.value)
          values.push_back(Str(Percent(*cell.value), " at ", Percent(map_.depths[d])));
      }
      if (!values.empty())
        parts.push_back(Str("length ", map_.lengths[l], ": ", Join(values, ", ")));
    }
    const std::vector<std::string> notes = NotesOf(map_);
    parts.insert(parts.end(), notes.begin(), notes.end());
    drawing_.description = Join(parts, ". ");
  }

  const DepthMap& map_;
  Drawing drawing_;
  double left_ = 0.0, right_ = 0.0, top_ = 0.0, bottom_ = 0.0, grid_bottom_ = 0.0;
  double cell_width_ = 0.0, cell_height_ = 0.0;
};

Json CellJson(const DepthCell& cell) {
  Json json = {{"status", cell.status}, {"value", Json()}, {"n", cell.n}};
  if (cell.value) json["value"] = *cell.value;
  if (cell.ends95) json["interval95"] = {cell.ends95->first, cell.ends95->second};
  return json;
}

}  // namespace

Result<PivotRequest> ByDepth(PivotRequest request) {
  if (!request.cols.empty()) {
    return Status(Code::kInvalidArgument,
                  Str("--cols ", Join(request.cols, ","),
                      ": a map by depth always has context lengths as columns: leave --cols out"));
  }
  if (request.relative || request.against) {
    return Status(Code::kInvalidArgument,
                  Str(request.relative ? "--relative" : "--against",
                      ": a map by depth shows shares, not comparisons: leave it out"));
  }
  request.cols = {std::string(kDepth), std::string(kContextLength)};
  if (request.metrics.empty()) request.metrics = {"recall"};
  return request;
}

Result<std::vector<DepthMap>> DepthMapsOf(const std::vector<PivotTable>& tables) {
  std::vector<DepthMap> maps;
  for (const PivotTable& table : tables) {
    if (table.metrics.size() != 1 || !table.metrics.front().is_share()) {
      std::vector<std::string> names;
      for (const ResultMetric& metric : table.metrics) names.push_back(metric.name);
      return Status(Code::kInvalidArgument, Str("a map by depth shows exactly one metric that is a "
                                                "share of answers, such as recall; found ",
                                                Join(names, ", ")));
    }
    const Grid grid = GridOf(table);
    for (const PivotRow& row : table.rows) {
      if (std::optional<DepthMap> map = MapOfRow(table, row, grid)) {
        maps.push_back(*std::move(map));
      }
    }
  }
  return maps;
}

std::string Percent(double share) { return Str(std::lround(100.0 * share), "%"); }

bool HasNumbers(const DepthMap& map) {
  return std::ranges::any_of(map.cells, [](const DepthCell& cell) { return !!cell.value; });
}

std::vector<std::string> NotesOf(const DepthMap& map) {
  std::map<std::string, std::vector<std::string>> places;
  for (std::size_t l = 0; l < map.lengths.size(); ++l) {
    std::map<std::string, std::vector<std::string>> depths;
    for (std::size_t d = 0; d < map.depths.size(); ++d) {
      const DepthCell& cell = map.At(d, l);
      if (!cell.value) depths[cell.status].push_back(Percent(map.depths[d]));
    }
    depths.erase("not_asked");
    for (const auto& [status, at] : depths) {
      places[status].push_back(at.size() == map.depths.size()
                                   ? map.lengths[l]
                                   : Str(map.lengths[l], " (depth ", Join(at, ", "), ")"));
    }
  }
  std::vector<std::string> notes;
  for (const auto& [status, at] : places) {
    notes.push_back(Str(status, " at ", Join(at, ", ")));
  }
  return notes;
}

Drawing LayOut(const DepthMap& map, int width, int height) {
  return DepthLayout(map, width, height).Place();
}

Json DepthMapJson(const DepthMap& map) {
  Json rows = Json::array();
  for (std::size_t d = 0; d < map.depths.size(); ++d) {
    Json row = Json::array();
    for (std::size_t l = 0; l < map.lengths.size(); ++l) row.push_back(CellJson(map.At(d, l)));
    rows.push_back({{"depth", map.depths[d]}, {"cells", std::move(row)}});
  }
  Json all = Json::array();
  for (const DepthCell& cell : map.all) all.push_back(CellJson(cell));
  return {{"title", map.title},
          {"name", map.name},
          {"quantity", map.quantity},
          {"lengths", map.lengths},
          {"train_length", map.train_length > 0 ? Json(map.train_length) : Json()},
          {"depths", std::move(rows)},
          {"all", std::move(all)}};
}

}  // namespace longrun::client
