#include "client/plots/plot_text.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "base/str.h"
#include "client/plots/plot_scale.h"
#include "client/words/render.h"
#include "client/words/signs.h"
#include "client/words/window.h"

namespace longrun::client {
namespace {

constexpr int kNameMax = 28;
constexpr const char* kColours[] = {"36", "33", "32", "35", "34", "31", "37"};

// The letter that distinguishes a series without colour.
std::string LetterOf(std::size_t s) {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  return std::string(1, kLetters[s % kLetters.size()]);
}

// A grid of characters, each made of dots: 2 x 4 in Braille, one in ASCII.
class Canvas {
 public:
  Canvas(int columns, int rows, bool ascii)
      : columns_(columns), rows_(rows), ascii_(ascii), cells_(Size()) {}

  int dots_x() const { return columns_ * (ascii_ ? 1 : 2); }
  int dots_y() const { return rows_ * (ascii_ ? 1 : 4); }

  void Dot(int x, int y, int series) {
    if (x < 0 || y < 0 || x >= dots_x() || y >= dots_y()) return;
    Cell& cell = At(ascii_ ? x : x / 2, ascii_ ? y : y / 4);
    // Bits of U+2800: 1 2 3 7 down the left column, 4 5 6 8 down the right one.
    constexpr int kBits[4][2] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    cell.dots |= ascii_ ? 1 : kBits[y % 4][x % 2];
    cell.series = series;
  }

  void Line(int x0, int y0, int x1, int y1, int series) {
    const int n = std::max({std::abs(x1 - x0), std::abs(y1 - y0), 1});
    for (int i = 0; i <= n; ++i) {
      Dot(x0 + static_cast<int>(std::lround(static_cast<double>(x1 - x0) * i / n)),
          y0 + static_cast<int>(std::lround(static_cast<double>(y1 - y0) * i / n)), series);
    }
  }

  void Letter(int dot_x, int dot_y, const std::string& letter, int series) {
    const int x = std::clamp(ascii_ ? dot_x : dot_x / 2, 0, columns_ - 1);
    const int y = std::clamp(ascii_ ? dot_y : dot_y / 4, 0, rows_ - 1);
    At(x, y).letter = letter;
    At(x, y).series = series;
  }

  // Draws a mark's column below everything else.
  void Below(int dot_x, const std::string& letter) {
    const int x = std::clamp(ascii_ ? dot_x : dot_x / 2, 0, columns_ - 1);
    for (int y = 0; y < rows_; ++y) At(x, y).below = letter;
  }

  std::string Row(int y, bool colour) const {
    std::string out;
    for (int x = 0; x < columns_; ++x) {
      const Cell& cell = cells_[Index(x, y)];
      const bool has_series = !cell.letter.empty() || cell.dots != 0;
      const std::string text = !cell.letter.empty() ? cell.letter
                               : cell.dots != 0     ? Dots(cell.dots)
                               : cell.below.empty() ? " "
                                                    : cell.below;
      out += has_series && colour ? Coloured(text, cell.series) : text;
    }
    return out;
  }

  static std::string Coloured(const std::string& text, int series) {
    return Str("\x1b[", kColours[static_cast<std::size_t>(series) % std::size(kColours)], "m", text,
               "\x1b[0m");
  }

 private:
  struct Cell {
    int dots = 0;
    int series = 0;
    std::string letter = {};
    std::string below = {};
  };

  std::size_t Index(int x, int y) const {
    return static_cast<std::size_t>(y) * static_cast<std::size_t>(columns_) +
           static_cast<std::size_t>(x);
  }
  std::size_t Size() const { return Index(0, rows_); }
  Cell& At(int x, int y) { return cells_[Index(x, y)]; }

  std::string Dots(int dots) const {
    if (ascii_) return ".";
    // U+2800 + dots in UTF-8.
    return {static_cast<char>(0xe2), static_cast<char>(0xa0 | (dots >> 6)),
            static_cast<char>(0x80 | (dots & 0x3f))};
  }

  int columns_;
  int rows_;
  bool ascii_;
  std::vector<Cell> cells_;
};

class TextPlot {
 public:
  TextPlot(const Plot& plot, const PlotTextStyle& style) : plot_(plot), style_(style) { Scales(); }

  std::string Render() {
    const std::vector<double> ticks = Ticks(y_, std::max(2, style_.height / 3));
    std::size_t tick_width = 1;
    for (const double tick : ticks) tick_width = std::max(tick_width, TickText(tick).size());
    std::size_t name_width = 0;
    for (const PlotSeries& series : plot_.series) {
      name_width = std::max(name_width, DisplayWidth(Name(series)));
    }
    const int columns = std::max(
        16, style_.width - static_cast<int>(tick_width) - 3 - static_cast<int>(name_width) - 4);
    const int rows = std::max(4, style_.height);
    Canvas canvas(columns, rows, style_.ascii);
    for (const double mark : plot_.marks_x) {
      canvas.Below(DotX(canvas, mark), style_.ascii ? ":" : "┊");
    }
    for (std::size_t s = 0; s < plot_.series.size(); ++s) DrawSeries(canvas, s);

    std::vector<std::string> left(static_cast<std::size_t>(rows));
    for (const double tick : ticks) left[Row(DotY(canvas, tick))] = TickText(tick);
    const std::vector<std::string> right = Names(canvas, rows);
    std::string out = Ascii(plot_.title) + "\n" + Ascii(plot_.y_label) + "\n";
    for (int y = 0; y < rows; ++y) {
      const std::string& tick = left[static_cast<std::size_t>(y)];
      std::string line =
          Str(std::string(tick_width - tick.size(), ' '), tick, tick.empty() ? Bar() : Tee(),
              canvas.Row(y, style_.colour), "  ", right[static_cast<std::size_t>(y)]);
      while (line.ends_with(' ')) line.pop_back();
      out += line + "\n";
    }
    return out + Below(canvas, tick_width + 2, columns);
  }

 private:
  void Scales() {
    std::vector<double> xs;
    std::vector<double> ys;
    for (const PlotSeries& series : plot_.series) {
      for (const PlotPoint& point : series.points) {
        if (!std::isfinite(point.y)) continue;
        xs.push_back(point.x);
        ys.push_back(point.y);
      }
    }
    x_ = ScaleOf(xs, plot_.x_is_log, 0.0);
    if (!(x_.high > x_.low)) x_ = ScaleOf({x_.low / 2, x_.low * 2}, plot_.x_is_log, 0.1);
    y_ = Within(ScaleOf(ys, plot_.y_is_log, 0.04), plot_.y_least, plot_.y_most);
  }

  const char* Bar() const { return style_.ascii ? " |" : " │"; }
  const char* Tee() const { return style_.ascii ? " +" : " ┤"; }
  std::string Ascii(const std::string& text) const { return style_.ascii ? AsciiOf(text) : text; }
  std::string Name(const PlotSeries& series) const {
    return Clipped(Ascii(series.name), kNameMax, style_.ascii);
  }

  int DotX(const Canvas& canvas, double x) const {
    return static_cast<int>(std::lround(x_.Unit(x) * (canvas.dots_x() - 1)));
  }
  int DotY(const Canvas& canvas, double y) const {
    return static_cast<int>(std::lround((1.0 - y_.Unit(y)) * (canvas.dots_y() - 1)));
  }
  std::size_t Row(int dot_y) const {
    return static_cast<std::size_t>(style_.ascii ? dot_y : dot_y / 4);
  }

  void DrawSeries(Canvas& canvas, std::size_t s) const {
    const int number = plot_.series[s].hue;
    const PlotPoint* before = nullptr;
    for (const PlotPoint& point : plot_.series[s].points) {
      if (!std::isfinite(point.y) || (plot_.y_is_log && point.y <= 0.0)) {
        before = nullptr;
        continue;
      }
      const int x = DotX(canvas, point.x);
      const int y = DotY(canvas, point.y);
      const PlotPoint& from = before == nullptr ? point : *before;
      canvas.Line(DotX(canvas, from.x), DotY(canvas, from.y), x, y, number);
      before = &point;
    }
    for (const PlotPoint& point : plot_.series[s].points) {
      const bool is_last = &point == before;
      if (!std::isfinite(point.y) || !(plot_.has_markers || is_last)) continue;
      canvas.Letter(DotX(canvas, point.x), DotY(canvas, point.y), LetterOf(s), number);
    }
  }

  // Puts a name like "a cable" beside each line's end, in the nearest free row.
  std::vector<std::string> Names(const Canvas& canvas, int rows) const {
    struct End {
      std::size_t series;
      int row;
    };
    std::vector<End> ends;
    for (std::size_t s = 0; s < plot_.series.size(); ++s) {
      const auto& points = plot_.series[s].points;
      const auto last = std::find_if(points.rbegin(), points.rend(), [&](const PlotPoint& point) {
        return std::isfinite(point.y) && (!plot_.y_is_log || point.y > 0.0);
      });
      if (last == points.rend()) continue;
      ends.push_back({.series = s, .row = static_cast<int>(Row(DotY(canvas, last->y)))});
    }
    std::ranges::stable_sort(ends, {}, &End::row);
    for (std::size_t i = 1; i < ends.size(); ++i) {
      ends[i].row = std::max(ends[i].row, ends[i - 1].row + 1);
    }
    for (std::size_t i = ends.size(); i > 0; --i) {
      const int most = i == ends.size() ? rows - 1 : ends[i].row - 1;
      ends[i - 1].row = std::min(ends[i - 1].row, most);
    }
    std::vector<std::string> names(static_cast<std::size_t>(rows));
    for (const End& end : ends) {
      if (end.row < 0) continue;  // more lines than rows: no room for the upper names
      const std::string text = Str(LetterOf(end.series), " ", Name(plot_.series[end.series]));
      names[static_cast<std::size_t>(end.row)] =
          style_.colour ? Canvas::Coloured(text, plot_.series[end.series].hue) : text;
    }
    return names;
  }

  // The x axis, its ticks and label, the notes.
  std::string Below(const Canvas& canvas, std::size_t indent, int columns) const {
    std::string axis;
    for (int x = 0; x < columns; ++x) axis += style_.ascii ? "-" : "─";
    std::vector<double> ticks;
    for (const PlotSeries& series : plot_.series) {
      for (const PlotPoint& point : series.points) ticks.push_back(point.x);
    }
    std::ranges::sort(ticks);
    ticks.erase(std::unique(ticks.begin(), ticks.end()), ticks.end());
    if (!plot_.x_is_log || !AreTicks(ticks)) ticks = Ticks(x_, std::max(2, columns / 12), true);
    std::string labels(indent + static_cast<std::size_t>(columns) + 12, ' ');
    const auto label = [&](double tick, const std::string& text) {
      const int column = DotX(canvas, tick) / (style_.ascii ? 1 : 2);
      const auto centre = indent + static_cast<std::size_t>(std::max(column, 0));
      const std::size_t at = centre >= text.size() / 2 ? centre - text.size() / 2 : 0;
      if (at + text.size() > labels.size()) return;
      // Requires a free space on either side.
      const std::size_t from = at == 0 ? 0 : at - 1;
      const std::size_t to = std::min(at + text.size() + 1, labels.size());
      if (labels.substr(from, to - from).find_first_not_of(' ') != std::string::npos) return;
      labels.replace(at, text.size(), text);
    };
    for (const double mark : plot_.marks_x) label(mark, Str("[", TickText(mark), "]"));
    for (const double tick : ticks) label(tick, TickText(tick));
    while (labels.ends_with(' ')) labels.pop_back();
    std::string out = Str(std::string(indent - 1, ' '), style_.ascii ? "+" : "└", axis, "\n",
                          labels, "\n", std::string(indent, ' '), Ascii(plot_.x_label));
    if (!plot_.marks_x.empty()) out += Str("   [ ] ", plot_.marks_label);
    if (plot_.y_is_log) out += "   (logarithmic)";
    out += "\n";
    for (const std::string& note : NotesOf(plot_)) out += Ascii(note) + "\n";
    if (!plot_.legend.empty()) out += Ascii(plot_.legend) + "\n";
    return out;
  }

  const Plot& plot_;
  const PlotTextStyle& style_;
  PlotScale x_, y_;
};

}  // namespace

PlotTextStyle TextStyleFor(const PlotSize& size, bool ascii, bool to_stdout) {
  PlotTextStyle style;
  winsize window = {};
  if (to_stdout && OnTerminal() && ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 &&
      window.ws_col > 0) {
    style.width = std::min<int>(window.ws_col, 120);
    style.height = std::clamp<int>(window.ws_row - 8, 8, 30);
  }
  if (size.width > 0) style = {.width = size.width, .height = size.height};
  style.ascii = ascii || (to_stdout && !LocaleIsUtf8());
  style.colour = to_stdout && UseColour();
  return style;
}

std::string Clipped(const std::string& text, std::size_t width, bool ascii) {
  if (DisplayWidth(text) <= width) return text;
  std::string out;
  for (const char c : text) {
    const bool starts = (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    if (starts && DisplayWidth(out) + 1 >= width) break;
    out += c;
  }
  return out + (ascii ? "~" : "…");
}

std::string AsciiOf(const std::string& text) {
  std::string out;
  for (const char c : WithAsciiSigns(text)) {
    if (static_cast<unsigned char>(c) < 0x80) {
      out += c;
    } else if ((static_cast<unsigned char>(c) & 0xc0) == 0xc0) {
      out += '?';
    }
  }
  return out;
}

std::string RenderPlotText(const Plot& plot, const PlotTextStyle& style) {
  return TextPlot(plot, style).Render();
}

}  // namespace longrun::client
