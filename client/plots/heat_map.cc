#include "client/plots/heat_map.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>

#include "base/str.h"
#include "client/plots/colour_bar.h"
#include "client/plots/plot_letters.h"
#include "client/plots/plot_size.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

// ---- scale --------------------------------------------------------------------------------------

// The range of the visible cells; low > high: there are none.
struct CellRange {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  bool has_hidden_zero = false;  // a cell at or below 0 was left out
};

CellRange RangeOf(const AttentionMap& map, bool positive) {
  CellRange range;
  const std::int64_t side = map.Side();
  for (std::int64_t r = 0; r < side; ++r) {
    for (std::int64_t c = 0; c < side; ++c) {
      const double value = map.values[static_cast<std::size_t>(r * side + c)];
      if (!std::isfinite(value) || map.VisiblePairs(r, c) == 0) continue;
      if (positive && value <= 0.0) {
        range.has_hidden_zero = true;
        continue;
      }
      range.low = std::min(range.low, value);
      range.high = std::max(range.high, value);
    }
  }
  return range;
}

// Symmetric about 0.
PlotScale ScaleOfDifference(const AttentionMap& map) {
  const CellRange range = RangeOf(map, /*positive=*/false);
  const double most = std::max(-range.low, range.high);
  return most > 0 ? PlotScale{.low = -most, .high = most} : PlotScale{.low = -1.0, .high = 1.0};
}

// Spans the visible cells. Cuts off values far below the highest probability,
// and adds a note if it does.
PlotScale ScaleOfMap(const AttentionMap& map, std::vector<std::string>& notes) {
  const bool is_log = map.values_of == AttentionMap::Values::kProbabilities;
  const auto [low, high, has_zero] = RangeOf(map, /*positive=*/is_log);
  if (low > high) return ScaleOf({}, is_log, 0.0);
  if (low == high) return ScaleOf({low}, is_log, 0.0);
  PlotScale scale = {.low = low, .high = high, .is_log = is_log};
  const double least = high * std::pow(10.0, -kHeatDecades);
  if (!is_log || (low >= least && !has_zero)) return scale;
  scale.low = std::max(low, least);
  notes.push_back(Str("the darkest colour stands for ", TickText(scale.low), " and less"));
  return scale;
}

std::shared_ptr<const PixelImage> ImageOf(const HeatMap& heat) {
  const std::int64_t side = heat.map.Side();
  auto image = std::make_shared<PixelImage>();
  image->width = image->height = static_cast<int>(side);
  image->argb.assign(static_cast<std::size_t>(side * side), 0);
  for (std::int64_t r = 0; r < side; ++r) {
    for (std::int64_t c = 0; c < side; ++c) {
      const std::optional<double> unit = heat.UnitAt(r, c);
      if (unit)
        image->argb[static_cast<std::size_t>(r * side + c)] = 0xff000000 | HeatColour(*unit);
    }
  }
  return image;
}

// ---- layout -------------------------------------------------------------------------------------

class HeatLayout {
 public:
  HeatLayout(const HeatMap& heat, int width, int height)
      : heat_(heat), tokens_{.low = 0.0, .high = static_cast<double>(heat.map.n_tokens)} {
    drawing_.width = std::max(width, kSmallestHeatMap.width);
    drawing_.height = std::max(height, kSmallestHeatMap.height);
    drawing_.title = heat.title;
  }

  Drawing Place() {
    top_ = PutTitle(drawing_, heat_.title, heat_.subtitle) + kTitleSize + 16;
    bottom_ = PutNotes(drawing_, heat_.notes) - 4;
    Box();
    drawing_.marks.push_back(
        {.kind = Mark::Kind::kImage,
         .points = {{.x = left_, .y = top_},
                    // The last cell may represent fewer tokens than the others.
                    {.x = X(CoveredTokens()), .y = Y(CoveredTokens())}},
         .text = heat_.title,
         .image = ImageOf(heat_)});
    Margin();
    Axes();
    TrainLength();
    Bar();
    Describe();
    return std::move(drawing_);
  }

 private:
  double CoveredTokens() const { return static_cast<double>(heat_.map.Side() * heat_.map.block); }
  double X(double token) const { return left_ + tokens_.Unit(token) * size_; }
  double Y(double token) const { return top_ + tokens_.Unit(token) * size_; }

  void Line(Ink ink, DrawPoint from, DrawPoint to, double width = 1.0, bool is_dashed = false) {
    drawing_.marks.push_back(
        {.ink = ink, .points = {from, to}, .width = width, .is_dashed = is_dashed});
  }

  // The first of `words`, longest first, that fits beside the map.
  std::string Fitting(const std::vector<std::string>& words) const {
    for (const std::string& text : words) {
      if (TextWidth(text, kTextSize) <= size_) return text;
    }
    return words.back();
  }

  // The largest square with room for the ticks and the bar.
  void Box() {
    const double tick_width = TextWidth(TickText(tokens_.high), kTextSize);
    left_ = kEdge + kTextSize + 12 + tick_width + 8;
    const double below = kTextSize + 20 + kTextSize + 8;  // ticks and the axis' name
    const double height = bottom_ - below - top_;
    const double right = drawing_.width - kEdge - ColourBar(heat_.scale, height).Room();
    size_ = std::max(80.0, std::min(right - left_, height));
  }

  // Covers the part of the last cells that extends beyond the map's end.
  void Margin() {
    if (CoveredTokens() <= tokens_.high) return;
    const double end_x = X(tokens_.high), end_y = Y(tokens_.high), out = X(CoveredTokens()) - end_x;
    drawing_.marks.push_back(
        {.ink = Ink::kPaper,
         .points = {{.x = end_x + out / 2, .y = top_}, {.x = end_x + out / 2, .y = end_y + out}},
         .width = out});
    drawing_.marks.push_back(
        {.ink = Ink::kPaper,
         .points = {{.x = left_, .y = end_y + out / 2}, {.x = end_x + out, .y = end_y + out / 2}},
         .width = out});
  }

  void Axes() {
    const double right = left_ + size_, bottom = top_ + size_;
    const int n_ticks = std::max(2, static_cast<int>(size_ / 80));
    for (const double tick : Ticks(tokens_, n_ticks, true)) {
      Line(Ink::kAxis, {.x = X(tick), .y = bottom}, {.x = X(tick), .y = bottom + 5});
      drawing_.marks.push_back(TextMark(TickText(tick), X(tick), bottom + 15, Mark::Anchor::kMiddle,
                                        Ink::kText, kTextSize));
      Line(Ink::kAxis, {.x = left_ - 5, .y = Y(tick)}, {.x = left_, .y = Y(tick)});
      drawing_.marks.push_back(
          TextMark(TickText(tick), left_ - 9, Y(tick), Mark::Anchor::kEnd, Ink::kText, kTextSize));
    }
    Line(Ink::kAxis, {.x = left_, .y = top_}, {.x = right, .y = top_});
    Line(Ink::kAxis, {.x = right, .y = top_}, {.x = right, .y = bottom});
    Line(Ink::kAxis, {.x = left_, .y = bottom}, {.x = right, .y = bottom});
    Line(Ink::kAxis, {.x = left_, .y = top_}, {.x = left_, .y = bottom});
    drawing_.marks.push_back(TextMark(Fitting({"key: the token looked at", "key"}),
                                      (left_ + right) / 2, bottom + 34, Mark::Anchor::kMiddle,
                                      Ink::kText, kTextSize));
    Mark query = TextMark(Fitting({"query: the token that looks", "query"}), kEdge + kTextSize / 2,
                          (top_ + bottom) / 2, Mark::Anchor::kMiddle, Ink::kText, kTextSize);
    query.is_upright = false;
    drawing_.marks.push_back(std::move(query));
  }

  // Dashes on a strip in the paper's colour, visible on every colour of the map.
  void TrainLength() {
    const std::int64_t train_length = heat_.train_length;
    if (train_length <= 0 || train_length >= heat_.map.n_tokens) return;
    const double at = static_cast<double>(train_length);
    const DrawPoint ends[][2] = {{{.x = X(at), .y = top_ - 5}, {.x = X(at), .y = top_ + size_}},
                                 {{.x = left_, .y = Y(at)}, {.x = left_ + size_ + 5, .y = Y(at)}}};
    for (const auto& [from, to] : ends) {
      Line(Ink::kPaper, from, to, 2.5);
      Line(Ink::kText, from, to, 1.2, true);
    }
    const std::string text = Str("train length ", TickText(at));
    const double half = TextWidth(text, kNoteSize) / 2;
    const double centre =
        std::clamp(X(at), left_ + half, std::max(left_ + half, left_ + size_ - half));
    drawing_.marks.push_back(
        TextMark(text, centre, top_ - 12, Mark::Anchor::kMiddle, Ink::kFaintText, kNoteSize));
  }

  void Bar() {
    const std::string name =
        heat_.is_difference
            ? Fitting({Str("difference of ", ValuesName(heat_.map.values_of)), "difference"})
        : heat_.scale.is_log ? Fitting({"attention probability (logarithmic)", "probability"})
                             : "logit";
    ColourBar(heat_.scale, size_).Put({.x = left_ + size_, .y = top_}, name, drawing_);
  }

  void Describe() {
    std::vector<std::string> parts = heat_.subtitle;
    parts.insert(parts.end(), heat_.notes.begin(), heat_.notes.end());
    parts.push_back(
        Str("values from ", TickText(heat_.scale.low), " to ", TickText(heat_.scale.high)));
    drawing_.description = Join(parts, ". ");
  }

  const HeatMap& heat_;
  const PlotScale tokens_;
  Drawing drawing_;
  double left_ = 0.0, top_ = 0.0, size_ = 0.0, bottom_ = 0.0;
};

}  // namespace

std::optional<double> HeatMap::UnitAt(std::int64_t row, std::int64_t column) const {
  if (map.VisiblePairs(row, column) == 0) return std::nullopt;
  const double value = map.values[static_cast<std::size_t>(row * map.Side() + column)];
  if (std::isnan(value)) return std::nullopt;
  if (value <= scale.low) return 0.0;
  return std::min(1.0, scale.Unit(value));
}

HeatMap MakeHeatMap(AttentionMap map, AttentionMap::Pool pool, std::int64_t train_length,
                    bool is_difference) {
  HeatMap heat = {.map = PoolMap(std::move(map), kHeatSide, pool),
                  .is_difference = is_difference,
                  .train_length = train_length};
  const AttentionMap& drawn = heat.map;
  if (drawn.block > 1) {
    heat.notes.push_back(Str("a cell is the ", PoolName(drawn.pooled_by),
                             " of the visible pairs among ", drawn.block, " x ", drawn.block,
                             " pairs of tokens"));
  }
  if (drawn.is_causal) heat.notes.emplace_back("blank: keys that the query cannot see");
  if (train_length >= drawn.n_tokens) {
    heat.notes.push_back(Str("the whole map is within the train length ", train_length));
  }
  heat.scale = is_difference ? ScaleOfDifference(drawn) : ScaleOfMap(drawn, heat.notes);
  return heat;
}

Drawing LayOut(const HeatMap& heat, int width, int height) {
  return HeatLayout(heat, width, height).Place();
}

Json HeatMapJson(const HeatMap& heat) {
  const std::int64_t side = heat.map.Side();
  Json rows = Json::array();
  for (std::int64_t r = 0; r < side; ++r) {
    Json row = Json::array();
    for (std::int64_t c = 0; c < side; ++c) {
      const double value = heat.map.values[static_cast<std::size_t>(r * side + c)];
      const bool is_shown = heat.map.VisiblePairs(r, c) > 0 && std::isfinite(value);
      row.push_back(is_shown ? Json(value) : Json());
    }
    rows.push_back(std::move(row));
  }
  Json json = {{"title", heat.title},
               {"values", ValuesName(heat.map.values_of)},
               {"tokens", heat.map.n_tokens},
               {"block", heat.map.block},
               {"pool", PoolName(heat.map.pooled_by)},
               {"train_length", heat.train_length > 0 ? Json(heat.train_length) : Json()},
               {"layers", heat.map.layers},
               {"heads", heat.map.heads},
               {"attention", std::move(rows)},
               {"entropy", heat.map.entropy},
               {"head_entropy", heat.map.head_entropy}};
  if (heat.is_difference) json["difference"] = true;
  return json;
}

}  // namespace longrun::client
