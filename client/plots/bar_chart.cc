#include "client/plots/bar_chart.h"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <utility>

#include "base/str.h"
#include "client/plots/plot_letters.h"
#include "client/plots/plot_size.h"

namespace longrun::client {
namespace {

constexpr double kNameShare = 0.3;  // of the width, at most, for the names of rows
constexpr double kWhiskerRanges = 1.5;

// Between the two nearest of the sorted numbers, by proportion.
double QuantileOf(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

class BarLayout {
 public:
  BarLayout(const BarChart& chart, int width, int height)
      : chart_(chart), x_(ScaleOf(chart)), hues_(HuesOf(chart)) {
    drawing_.width = std::max(width, kSmallestPlot.width);
    drawing_.height = std::max(height, kSmallestPlot.height);
  }

  Drawing Place() {
    const std::size_t at = chart_.title.find(" (");
    std::vector<std::string> below;
    if (at != std::string::npos) {
      below.push_back(chart_.title.substr(at + 2, chart_.title.size() - at - 3));
    }
    drawing_.title = chart_.title;
    top_ = PutTitle(drawing_, chart_.title.substr(0, at), below) + kTitleSize + 4;
    const double label_y = PutNotes(drawing_, chart_.notes) - 2;
    bottom_ = label_y - kTextSize - 20;
    double name_width = 0.0, value_width = 0.0;
    for (const BarRow& row : chart_.rows) {
      name_width = std::max(name_width, TextWidth(row.name, kTextSize));
      if (!row.box) value_width = std::max(value_width, TextWidth(ValueText(row), kNoteSize));
    }
    name_width = std::min(name_width, kNameShare * drawing_.width);
    left_ = kEdge + name_width + 10;
    right_ = std::max(left_ + 80.0, drawing_.width - kEdge - value_width - 10);
    Grid(label_y);
    const double step =
        (bottom_ - top_) / static_cast<double>(std::max<std::size_t>(1, chart_.rows.size()));
    for (std::size_t r = 0; r < chart_.rows.size(); ++r) {
      Row(chart_.rows[r], hues_[r], top_ + (static_cast<double>(r) + 0.5) * step,
          std::min(0.35 * step, 14.0), name_width);
    }
    Describe();
    return std::move(drawing_);
  }

 private:
  double X(double value) const { return left_ + x_.Unit(value) * (right_ - left_); }

  void Line(Ink ink, int series, DrawPoint from, DrawPoint to, double width = 1.0) {
    drawing_.marks.push_back({.ink = ink, .series = series, .points = {from, to}, .width = width});
  }

  void Grid(double label_y) {
    for (const double tick : Ticks(x_, std::max(2, static_cast<int>((right_ - left_) / 80)))) {
      Line(Ink::kGrid, 0, {.x = X(tick), .y = top_}, {.x = X(tick), .y = bottom_});
      drawing_.marks.push_back(TextMark(TickText(tick), X(tick), bottom_ + 14,
                                        Mark::Anchor::kMiddle, Ink::kText, kTextSize));
    }
    Line(Ink::kAxis, 0, {.x = left_, .y = bottom_}, {.x = right_, .y = bottom_});
    drawing_.marks.push_back(TextMark(chart_.x_label, (left_ + right_) / 2, label_y,
                                      Mark::Anchor::kMiddle, Ink::kText, kTextSize));
  }

  void Area(int hue, double from, double to, double y, double half, const std::string& tip) {
    const std::vector<DrawPoint> corners = {{.x = from, .y = y - half},
                                            {.x = to, .y = y - half},
                                            {.x = to, .y = y + half},
                                            {.x = from, .y = y + half}};
    drawing_.marks.push_back({.kind = Mark::Kind::kArea,
                              .ink = Ink::kSeries,
                              .series = hue,
                              .points = corners,
                              .text = tip});
    for (std::size_t c = 0; c < corners.size(); ++c) {
      Line(Ink::kSeries, hue, corners[c], corners[(c + 1) % corners.size()], 1.2);
    }
  }

  void Row(const BarRow& row, int hue, double y, double half, double name_width) {
    drawing_.marks.push_back(TextMark(Clipped(row.name, kTextSize, name_width), left_ - 8, y,
                                      Mark::Anchor::kEnd, Ink::kText, kTextSize));
    const std::string tip = Str(row.name, ": ", ValueText(row));
    if (!row.box) {
      Area(hue, left_, X(row.value), y, half, tip);
      drawing_.marks.push_back(TextMark(ValueText(row), X(row.value) + 6, y, Mark::Anchor::kStart,
                                        Ink::kText, kNoteSize));
      return;
    }
    const Quartiles& box = *row.box;
    for (const auto& [end, side] :
         {std::pair(box.low, box.first), std::pair(box.high, box.third)}) {
      Line(Ink::kSeries, hue, {.x = X(end), .y = y}, {.x = X(side), .y = y}, 1.2);
      Line(Ink::kSeries, hue, {.x = X(end), .y = y - half / 2}, {.x = X(end), .y = y + half / 2},
           1.2);
    }
    Area(hue, X(box.first), X(box.third), y, half, tip);
    Line(Ink::kSeries, hue, {.x = X(box.median), .y = y - half},
         {.x = X(box.median), .y = y + half}, 2.5);
  }

  void Describe() {
    std::vector<std::string> parts;
    for (const BarRow& row : chart_.rows) parts.push_back(Str(row.name, ": ", ValueText(row)));
    parts.insert(parts.end(), chart_.notes.begin(), chart_.notes.end());
    drawing_.description = Join(parts, ". ");
  }

  const BarChart& chart_;
  PlotScale x_;
  std::vector<int> hues_;
  Drawing drawing_;
  double left_ = 0.0, right_ = 0.0, top_ = 0.0, bottom_ = 0.0;
};

}  // namespace

std::optional<Quartiles> QuartilesOf(std::vector<double> numbers) {
  if (numbers.empty()) return std::nullopt;
  std::ranges::sort(numbers);
  Quartiles box = {.first = QuantileOf(numbers, 0.25),
                   .median = QuantileOf(numbers, 0.5),
                   .third = QuantileOf(numbers, 0.75),
                   .n = std::ssize(numbers)};
  const double reach = kWhiskerRanges * (box.third - box.first);
  box.low = std::min(box.first, *std::ranges::lower_bound(numbers, box.first - reach));
  box.high = std::max(box.third, *std::prev(std::ranges::upper_bound(numbers, box.third + reach)));
  return box;
}

PlotScale ScaleOf(const BarChart& chart) {
  std::vector<double> values;
  bool has_bars = false;
  for (const BarRow& row : chart.rows) {
    if (row.box) {
      for (const double value : {row.box->low, row.box->high}) {
        if (!chart.x_is_log || value > 0.0) values.push_back(value);
      }
    } else {
      has_bars = true;
      values.insert(values.end(), {0.0, row.value});
    }
  }
  const PlotScale scale = ScaleOf(values, chart.x_is_log, has_bars ? 0.0 : 0.03);
  return has_bars && scale.low < 0.0 ? PlotScale{.low = 0.0, .high = scale.high} : scale;
}

std::string ShortNumber(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

std::string ValueText(const BarRow& row) {
  if (!row.box) return ShortNumber(row.value);
  const Quartiles& box = *row.box;
  return Str(ShortNumber(box.low), " | ", ShortNumber(box.first), " ", ShortNumber(box.median), " ",
             ShortNumber(box.third), " | ", ShortNumber(box.high));
}

std::vector<int> HuesOf(const BarChart& chart) {
  std::vector<std::string> groups;
  std::vector<int> hues;
  for (const BarRow& row : chart.rows) {
    const std::string& group = row.group.empty() ? row.name : row.group;
    const auto at = std::ranges::find(groups, group);
    hues.push_back(static_cast<int>(at - groups.begin()));
    if (at == groups.end()) groups.push_back(group);
  }
  return hues;
}

Drawing LayOut(const BarChart& chart, int width, int height) {
  return BarLayout(chart, width, height).Place();
}

int HeightFor(const BarChart& chart) {
  constexpr int kAround = 140;  // title, axis and notes
  constexpr int kRow = 18;
  return kAround + kRow * static_cast<int>(chart.rows.size());
}

Json BarChartJson(const BarChart& chart) {
  Json rows = Json::array();
  for (const BarRow& row : chart.rows) {
    if (!row.box) {
      rows.push_back({{"name", row.name}, {"value", row.value}});
      continue;
    }
    const Quartiles& box = *row.box;
    rows.push_back({{"name", row.name},
                    {"low", box.low},
                    {"first", box.first},
                    {"median", box.median},
                    {"third", box.third},
                    {"high", box.high},
                    {"n", box.n}});
  }
  return {{"title", chart.title},
          {"x_label", chart.x_label},
          {"rows", std::move(rows)},
          {"notes", chart.notes}};
}

}  // namespace longrun::client
