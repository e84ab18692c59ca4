#include "client/plots/plot_layout.h"

#include <algorithm>
#include <cmath>

#include "base/str.h"
#include "client/plots/plot_letters.h"
#include "client/plots/plot_scale.h"
#include "client/plots/plot_size.h"

namespace longrun::client {
namespace {

// How many times as high as the lines an interval with two ends makes the plot, at most.
constexpr double kBandOverLines = 2.0;
constexpr double kLabelGap = 15.0;  // between the names of two lines
constexpr double kMarkRadius = 3.5;
constexpr double kLabelShare = 0.36;    // of the width, at most, for the names of lines
constexpr std::size_t kDescribed = 12;  // points per line that the description spells out
constexpr double kLeaderMax = 60.0;     // from a line's end to its name; longer ones look like data
constexpr double kLabelIndent = 28.0;   // of names, right of the plot

// The end of a line and the place of its name.
struct EndLabel {
  std::size_t series = 0;
  std::string text = {};
  double x = 0.0;  // of the line's last point
  double y = 0.0;
  double label_y = 0.0;
};

class Layout {
 public:
  Layout(const Plot& plot, int width, int height) : plot_(plot) {
    drawing_.width = std::max(width, kSmallestPlot.width);
    drawing_.height = std::max(height, kSmallestPlot.height);
    drawing_.title = plot.title;
  }

  Drawing Place() {
    Scales();
    Title();
    Notes();
    Box();
    Grid();
    TrainLengths();
    for (std::size_t s = 0; s < plot_.series.size(); ++s) Band(s);
    for (std::size_t s = 0; s < plot_.series.size(); ++s) Line(s);
    EndLabels();
    Describe();
    return std::move(drawing_);
  }

 private:
  void Scales() {
    std::vector<double> xs;
    std::vector<double> ys;
    std::vector<const PlotPoint*> points;
    for (const PlotSeries& series : plot_.series) {
      for (const PlotPoint& point : series.points) {
        if (!std::isfinite(point.y)) continue;
        xs.push_back(point.x);
        ys.push_back(point.y);
        points.push_back(&point);
      }
    }
    const double highest = ys.empty() ? 0.0 : std::ranges::max(ys);
    for (const PlotPoint* const point : points) {
      const auto band = point->Band();
      if (!band) continue;
      // With two seeds, a perplexity's upper end can be many times as high as all lines.
      ys.push_back(point->ends95 && !plot_.y_most ? std::min(band->second, kBandOverLines * highest)
                                                  : band->second);
      // A band that reaches zero has no lower end on a logarithmic scale.
      if (!plot_.y_is_log || band->first > 0.0) ys.push_back(band->first);
    }
    x_ = ScaleOf(xs, plot_.x_is_log, 0.02);
    y_ = Within(ScaleOf(ys, plot_.y_is_log, 0.06), plot_.y_least, plot_.y_most);
  }

  // "metric by context length" in large letters, "(validation, nonoverlap)" below it.
  void Title() {
    const std::size_t at = plot_.title.find(" (");
    std::vector<std::string> below;
    if (at != std::string::npos) {
      below.push_back(plot_.title.substr(at + 2, plot_.title.size() - at - 3));
    }
    top_ = PutTitle(drawing_, plot_.title.substr(0, at), below) + kTitleSize + 14;
  }

  // Notes at the bottom: what cannot be drawn, and what the band means.
  void Notes() {
    std::vector<std::string> notes = NotesOf(plot_);
    std::vector<std::string> legend;
    for (const std::string& part : {plot_.legend, plot_.picture_legend}) {
      if (!part.empty()) legend.push_back(part);
    }
    if (!legend.empty()) notes.push_back(Join(legend, "; "));
    x_label_y_ = PutNotes(drawing_, notes) - 2;
    bottom_ = x_label_y_ - kTextSize - 20;
  }

  void Box() {
    y_ticks_ = Ticks(y_, std::max(2, static_cast<int>((bottom_ - top_) / 45)));
    double tick_width = 0.0;
    for (const double tick : y_ticks_) {
      tick_width = std::max(tick_width, TextWidth(TickText(tick), kTextSize));
    }
    left_ = kEdge + kTextSize + 10 + tick_width + 8;
    double label_width = 0.0;
    for (const PlotSeries& series : plot_.series) {
      label_width = std::max(label_width, TextWidth(series.name, kTextSize));
    }
    label_width_ = std::min(label_width, kLabelShare * drawing_.width);
    right_ = drawing_.width - kEdge - label_width_ - kLabelIndent - 2;
  }

  double X(double value) const { return left_ + x_.Unit(value) * (right_ - left_); }
  double Y(double value) const { return bottom_ - y_.Unit(value) * (bottom_ - top_); }

  // The ticks of the x axis: the x values of the points, if they are few.
  std::vector<double> XTicks() const {
    std::vector<double> ticks;
    for (const PlotSeries& series : plot_.series) {
      for (const PlotPoint& point : series.points) ticks.push_back(point.x);
    }
    std::ranges::sort(ticks);
    ticks.erase(std::unique(ticks.begin(), ticks.end()), ticks.end());
    if (!plot_.x_is_log || !AreTicks(ticks)) {
      ticks = Ticks(x_, std::max(2, static_cast<int>((right_ - left_) / 80)), true);
    }
    return ticks;
  }

  void Segment(Ink ink, DrawPoint from, DrawPoint to, bool is_dashed = false) {
    drawing_.marks.push_back({.ink = ink, .points = {from, to}, .is_dashed = is_dashed});
  }

  void Grid() {
    for (const double tick : y_ticks_) {
      Segment(Ink::kGrid, {.x = left_, .y = Y(tick)}, {.x = right_, .y = Y(tick)});
      drawing_.marks.push_back(
          TextMark(TickText(tick), left_ - 8, Y(tick), Mark::Anchor::kEnd, Ink::kText, kTextSize));
    }
    double free_from = -1e9;  // labels never touch
    for (const double tick : XTicks()) {
      const double x = X(tick);
      Segment(Ink::kAxis, {.x = x, .y = bottom_}, {.x = x, .y = bottom_ + 5});
      const double half = TextWidth(TickText(tick), kTextSize) / 2;
      if (x - half < free_from) continue;
      free_from = x + half + 6;
      drawing_.marks.push_back(
          TextMark(TickText(tick), x, bottom_ + 15, Mark::Anchor::kMiddle, Ink::kText, kTextSize));
    }
    Segment(Ink::kAxis, {.x = left_, .y = bottom_}, {.x = right_, .y = bottom_});
    Segment(Ink::kAxis, {.x = left_, .y = top_}, {.x = left_, .y = bottom_});
    drawing_.marks.push_back(TextMark(plot_.x_label, (left_ + right_) / 2, x_label_y_,
                                      Mark::Anchor::kMiddle, Ink::kText, kTextSize));
    Mark y_label = TextMark(plot_.y_label, kEdge + kTextSize / 2, (top_ + bottom_) / 2,
                            Mark::Anchor::kMiddle, Ink::kText, kTextSize);
    y_label.is_upright = false;
    drawing_.marks.push_back(std::move(y_label));
  }

  void TrainLengths() {
    double free_from = -1e9;
    for (const double mark : plot_.marks_x) {
      const double x = X(mark);
      Segment(Ink::kAxis, {.x = x, .y = top_ - 4}, {.x = x, .y = bottom_}, true);
      // Only the first mark is labelled with its meaning.
      const std::string text = mark == plot_.marks_x.front()
                                   ? Str(plot_.marks_label, " ", TickText(mark))
                                   : TickText(mark);
      const double width = TextWidth(text, kNoteSize);
      // Centred on its line, but kept inside the plot's edges.
      const double half = width / 2;
      const double centre =
          std::clamp(x, left_ - 4 + half, std::max(left_ + half, right_ + 20 - half));
      if (centre - half < free_from) continue;
      free_from = centre + half + 8;
      drawing_.marks.push_back(
          TextMark(text, centre, top_ - 11, Mark::Anchor::kMiddle, Ink::kFaintText, kNoteSize));
    }
  }

  Ink InkOf(std::size_t s) const {
    return plot_.series[s].is_baseline ? Ink::kBaseline : Ink::kSeries;
  }

  bool CanDraw(const PlotPoint& point) const {
    return std::isfinite(point.y) && (!plot_.y_is_log || point.y > 0.0);
  }

  // One area for each stretch without a gap. Keeps only the outermost of the points in one
  // column of pixels.
  void Band(std::size_t s) {
    std::vector<DrawPoint> upper;
    std::vector<DrawPoint> lower;
    const auto flush = [&] {
      if (upper.size() > 1) {
        Mark area{.kind = Mark::Kind::kArea, .ink = InkOf(s), .series = plot_.series[s].hue};
        area.points = upper;
        area.points.insert(area.points.end(), lower.rbegin(), lower.rend());
        drawing_.marks.push_back(std::move(area));
      } else if (upper.size() == 1) {
        Segment(Ink::kAxis, upper.front(), lower.front());
      }
      upper.clear();
      lower.clear();
    };
    for (const PlotPoint& point : plot_.series[s].points) {
      const auto band = point.Band();
      if (!CanDraw(point) || !band) {
        flush();
        continue;
      }
      const double x = X(point.x);
      const double high = Y(std::min(band->second, y_.high));
      const double low = Y(std::max(band->first, y_.low));
      if (!plot_.has_markers && !upper.empty() && std::floor(upper.back().x) == std::floor(x)) {
        upper.back().y = std::min(upper.back().y, high);
        lower.back().y = std::max(lower.back().y, low);
        continue;
      }
      upper.push_back({.x = x, .y = high});
      lower.push_back({.x = x, .y = low});
    }
    flush();
  }

  Mark::Kind SymbolOf(std::size_t s) const {
    constexpr Mark::Kind kSymbols[] = {Mark::Kind::kCircle, Mark::Kind::kSquare,
                                       Mark::Kind::kTriangle, Mark::Kind::kDiamond};
    return kSymbols[plot_.series[s].symbol % 4];
  }

  void Line(std::size_t s) {
    const PlotSeries& series = plot_.series[s];
    const int number = series.hue;
    // Lines beyond the palette's colours are dashed too.
    const bool is_dashed = series.is_baseline || series.dash % 2 == 1 || number >= kPaletteSize;
    std::vector<Mark> symbols;
    std::vector<DrawPoint> points;
    const auto flush = [&] {
      if (points.size() > 1) {
        drawing_.marks.push_back({.ink = InkOf(s),
                                  .series = number,
                                  .points = Thinned(points),
                                  .width = plot_.has_markers ? 2.0 : 1.4,
                                  .is_dashed = is_dashed,
                                  .text = series.name});
      }
      points.clear();
    };
    for (const PlotPoint& point : series.points) {
      if (!CanDraw(point)) {
        flush();
        continue;
      }
      points.push_back({.x = X(point.x), .y = Y(point.y)});
      if (!plot_.has_markers) continue;
      Mark symbol{.kind = SymbolOf(s), .ink = InkOf(s), .series = number};
      symbol.points = {points.back()};
      symbol.width = kMarkRadius;
      symbol.text = Str(series.name, " at ", TickText(point.x), ": ", TickText(point.y));
      symbols.push_back(symbol);
      if (!point.is_marked) continue;
      symbol.kind = Mark::Kind::kCircle;
      symbol.is_hollow = true;
      symbol.width = 2 * kMarkRadius;
      symbols.push_back(std::move(symbol));
    }
    flush();
    drawing_.marks.insert(drawing_.marks.end(), symbols.begin(), symbols.end());
  }

  // Keeps the first, lowest, highest and last of the points in one column of pixels: the picture is
  // the same with far fewer points.
  static std::vector<DrawPoint> Thinned(const std::vector<DrawPoint>& points) {
    std::vector<DrawPoint> thin;
    for (std::size_t begin = 0; begin < points.size();) {
      std::size_t end = begin + 1;
      while (end < points.size() && std::floor(points[end].x) == std::floor(points[begin].x)) ++end;
      std::size_t low = begin;
      std::size_t high = begin;
      for (std::size_t i = begin; i < end; ++i) {
        if (points[i].y < points[low].y) low = i;
        if (points[i].y > points[high].y) high = i;
      }
      std::vector<std::size_t> keep = {begin, low, high, end - 1};
      std::ranges::sort(keep);
      keep.erase(std::unique(keep.begin(), keep.end()), keep.end());
      for (const std::size_t i : keep) thin.push_back(points[i]);
      begin = end;
    }
    return thin;
  }

  std::vector<EndLabel> Ends() const {
    std::vector<EndLabel> ends;
    for (std::size_t s = 0; s < plot_.series.size(); ++s) {
      const auto& points = plot_.series[s].points;
      const auto last = std::find_if(points.rbegin(), points.rend(),
                                     [&](const PlotPoint& point) { return CanDraw(point); });
      if (last == points.rend()) continue;
      ends.push_back({.series = s,
                      .text = Clipped(plot_.series[s].name, kTextSize, label_width_),
                      .x = X(last->x),
                      .y = Y(last->y),
                      .label_y = Y(last->y)});
    }
    std::ranges::stable_sort(ends, {}, &EndLabel::y);
    return ends;
  }

  void EndLabels() {
    std::vector<EndLabel> ends = Ends();
    double floor = bottom_;
    const auto room = static_cast<std::size_t>(std::max(1.0, (bottom_ - top_) / kLabelGap + 1));
    if (ends.size() > room) {
      const std::size_t n_hidden = ends.size() - room + 1;
      ends.resize(room - 1);
      floor -= kLabelGap;
      drawing_.marks.push_back(TextMark(Str("+", n_hidden, " more"), right_ + kLabelIndent, bottom_,
                                        Mark::Anchor::kStart, Ink::kFaintText, kNoteSize));
    }
    // Push names down where they are too close; then up again where that went over the edge.
    for (std::size_t i = 0; i < ends.size(); ++i) {
      const double least = i == 0 ? top_ : ends[i - 1].label_y + kLabelGap;
      ends[i].label_y = std::max(ends[i].label_y, least);
    }
    for (std::size_t i = ends.size(); i > 0; --i) {
      const double most = i == ends.size() ? floor : ends[i].label_y - kLabelGap;
      ends[i - 1].label_y = std::min(ends[i - 1].label_y, most);
    }
    for (const EndLabel& end : ends) Label(end);
  }

  // The line's symbol and name, joined to its end by a thin line if that is close but not level.
  void Label(const EndLabel& end) {
    const int number = plot_.series[end.series].hue;
    const double gap = right_ - end.x;
    if (gap < kLeaderMax && std::abs(end.label_y - end.y) >= 3) {
      Mark leader{.ink = InkOf(end.series), .series = number};
      leader.points = {{.x = end.x + 6, .y = end.y}, {.x = right_ + 13, .y = end.label_y}};
      leader.width = 0.7;
      drawing_.marks.push_back(std::move(leader));
    }
    Mark symbol{.kind = SymbolOf(end.series), .ink = InkOf(end.series), .series = number};
    symbol.points = {{.x = right_ + 20, .y = end.label_y}};
    symbol.width = kMarkRadius;
    drawing_.marks.push_back(std::move(symbol));
    Mark label = TextMark(end.text, right_ + kLabelIndent, end.label_y, Mark::Anchor::kStart,
                          InkOf(end.series), kTextSize);
    label.series = number;
    drawing_.marks.push_back(std::move(label));
  }

  void Describe() {
    std::string text = Str(plot_.y_label, " against ", plot_.x_label, ".");
    for (const PlotSeries& series : plot_.series) {
      std::vector<std::string> points;
      const std::size_t stride = series.points.size() / kDescribed + 1;
      for (std::size_t i = 0; i < series.points.size(); i += stride) {
        const PlotPoint& point = series.points[i];
        if (std::isfinite(point.y)) {
          points.push_back(Str(TickText(point.y), " at ", TickText(point.x)));
        }
      }
      StrAppend(text, Str(" ", series.name, ": ", points.empty() ? "nothing" : Join(points, ", "),
                          series.note.empty() ? "" : "; ", series.note, "."));
    }
    drawing_.description = std::move(text);
  }

  const Plot& plot_;
  Drawing drawing_;
  PlotScale x_, y_;
  std::vector<double> y_ticks_;
  double top_ = 0.0, bottom_ = 0.0, left_ = 0.0, right_ = 0.0;
  double x_label_y_ = 0.0, label_width_ = 0.0;
};

}  // namespace

Drawing LayOut(const Plot& plot, int width, int height) {
  return Layout(plot, width, height).Place();
}

}  // namespace longrun::client
