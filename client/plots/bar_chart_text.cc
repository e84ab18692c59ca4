#include "client/plots/bar_chart_text.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "base/str.h"
#include "client/plots/plot_text.h"
#include "client/words/window.h"

namespace longrun::client {
namespace {

constexpr std::size_t kNameMax = 32;
constexpr std::size_t kChartMin = 10;
constexpr const char* kColours[] = {"36", "33", "32", "35", "34", "31", "37"};

std::string Padded(const std::string& text, std::size_t width) {
  const std::size_t taken = DisplayWidth(text);
  return text + std::string(width > taken ? width - taken : 0, ' ');
}

// The row as `width` letters.
std::string Letters(const BarRow& row, const PlotScale& scale, std::size_t width) {
  const auto at = [&](double value) {
    const double unit = std::clamp(scale.Unit(value), 0.0, 1.0);
    return static_cast<std::size_t>(std::lround(unit * static_cast<double>(width - 1)));
  };
  std::string text(width, ' ');
  const auto fill = [&text](std::size_t from, std::size_t to, char letter) {
    for (std::size_t i = from; i <= to; ++i) text[i] = letter;
  };
  if (!row.box) {
    const double share = std::clamp(scale.Unit(row.value), 0.0, 1.0);
    const auto n = static_cast<std::size_t>(std::lround(share * static_cast<double>(width)));
    return text.replace(0, n, n, '=');
  }
  fill(at(row.box->low), at(row.box->high), '-');
  text[at(row.box->low)] = text[at(row.box->high)] = '|';
  fill(at(row.box->first), at(row.box->third), '=');
  text[at(row.box->first)] = '[';
  text[at(row.box->third)] = ']';
  text[at(row.box->median)] = 'I';
  return text;
}

}  // namespace

std::string RenderBarText(const BarChart& chart, const BarTextStyle& style) {
  const auto shown = [&style](const std::string& text) {
    return style.ascii ? AsciiOf(text) : text;
  };
  std::vector<std::string> names;
  std::size_t name_width = 0, value_width = 0;
  for (const BarRow& row : chart.rows) {
    names.push_back(Clipped(shown(row.name), kNameMax, style.ascii));
    name_width = std::max(name_width, DisplayWidth(names.back()));
    value_width = std::max(value_width, ValueText(row).size());
  }
  const std::size_t room = static_cast<std::size_t>(std::max(style.width, 20));
  const std::size_t taken = name_width + value_width + 4;
  const std::size_t width = room > taken + kChartMin ? room - taken : kChartMin;
  const PlotScale scale = ScaleOf(chart);
  const std::vector<int> hues = HuesOf(chart);
  std::string out = Str(shown(chart.title), "\n\n");
  for (std::size_t r = 0; r < chart.rows.size(); ++r) {
    const BarRow& row = chart.rows[r];
    std::string letters = Letters(row, scale, width);
    if (style.colour) {
      letters = Str("\x1b[", kColours[static_cast<std::size_t>(hues[r]) % std::size(kColours)], "m",
                    letters, "\x1b[0m");
    }
    out += Str(Padded(names[r], name_width), "  ", letters, "  ", ValueText(row), "\n");
  }
  const std::string low = ShortNumber(scale.low), high = ShortNumber(scale.high);
  const std::size_t gap = width > low.size() + high.size() ? width - low.size() - high.size() : 1;
  out += Str(std::string(name_width + 2, ' '), low, std::string(gap, ' '), high, "\n",
             std::string(name_width + 2, ' '), shown(chart.x_label),
             chart.x_is_log ? " (logarithmic)" : "", "\n");
  for (const std::string& note : chart.notes) out += shown(note) + "\n";
  return out;
}

}  // namespace longrun::client
