#include "client/plots/plot_scale.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/str.h"

namespace longrun::client {
namespace {

// Values that differ by less, as a share, are equal but for their rounding: for example, the two
// ends of an interval over seeds that gave equal losses.
constexpr double kRoundingError = 1e-12;

// The round number near `raw`: 1, 2 or 5 times a power of ten.
double RoundStep(double raw) {
  const double decade = std::pow(10.0, std::floor(std::log10(raw)));
  const double factor = raw / decade;
  return decade * (factor < 1.5 ? 1.0 : factor < 3.5 ? 2.0 : factor < 7.5 ? 5.0 : 10.0);
}

std::vector<double> LogTicks(const PlotScale& scale, int count) {
  std::vector<double> ticks;
  const int first = static_cast<int>(std::floor(std::log10(scale.low)));
  const int last = static_cast<int>(std::ceil(std::log10(scale.high)));
  const auto collect = [&](const std::vector<double>& factors, int stride) {
    ticks.clear();
    for (int decade = first; decade <= last; decade += stride) {
      for (const double factor : factors) {
        const double tick = factor * std::pow(10.0, decade);
        if (tick >= scale.low && tick <= scale.high) ticks.push_back(tick);
      }
    }
  };
  collect({1.0, 2.0, 5.0}, 1);
  for (int stride = 1; static_cast<int>(ticks.size()) > count + 3; ++stride) {
    collect({1.0}, stride);
  }
  return ticks;
}

}  // namespace

double PlotScale::Unit(double value) const {
  if (is_log) return (std::log(value) - std::log(low)) / (std::log(high) - std::log(low));
  return (value - low) / (high - low);
}

PlotScale ScaleOf(const std::vector<double>& values, bool is_log, double room) {
  PlotScale scale{.low = INFINITY, .high = -INFINITY, .is_log = is_log};
  for (const double value : values) {
    if (!std::isfinite(value) || (is_log && value <= 0.0)) continue;
    scale.low = std::min(scale.low, value);
    scale.high = std::max(scale.high, value);
  }
  if (scale.low > scale.high)
    return {.low = is_log ? 1.0 : 0.0, .high = is_log ? 10.0 : 1.0, .is_log = is_log};
  if (is_log) {
    const double factor = scale.low == scale.high ? 2.0 : std::pow(scale.high / scale.low, room);
    scale.low /= factor;
    scale.high *= factor;
    return scale;
  }
  const double size = std::max(std::abs(scale.low), std::abs(scale.high));
  double pad = (scale.high - scale.low) * room;
  if (scale.high - scale.low <= kRoundingError * size) pad = size == 0.0 ? 1.0 : size * 0.05;
  scale.low -= pad;
  scale.high += pad;
  return scale;
}

PlotScale Within(PlotScale scale, std::optional<double> least, std::optional<double> most) {
  if (least) scale.low = std::max(scale.low, *least);
  if (most) scale.high = std::min(scale.high, *most);
  return scale;
}

std::vector<double> Ticks(const PlotScale& scale, int count, bool is_whole) {
  if (scale.is_log) {
    std::vector<double> ticks = LogTicks(scale, count);
    if (ticks.size() >= 2) return ticks;  // otherwise within an octave: linear ticks
  }
  std::vector<double> ticks;
  const double rounded = RoundStep((scale.high - scale.low) / std::max(count, 1));
  const double step = is_whole ? std::max(1.0, rounded) : rounded;
  const double first = std::ceil(scale.low / step);
  // Counts from zero: adding 1 to a number beyond 2^53 may not change it.
  for (double i = 0; (first + i) * step <= scale.high; i += 1.0)
    ticks.push_back((first + i) * step + 0.0);  // no -0
  return ticks;
}

bool AreTicks(const std::vector<double>& values) {
  constexpr std::size_t kTicksMax = 16;
  return values.size() <= kTicksMax &&
         std::ranges::all_of(values, [](double value) { return value == std::floor(value); });
}

std::string TickText(double value) {
  const double size = std::abs(value);
  if (size < 1e-12) return "0";
  if (size >= 1e15) {
    char text[32];
    std::snprintf(text, sizeof text, "%.4g", value);
    std::string shown = text;
    std::erase(shown, '+');
    return shown;
  }
  // Powers of two are written in full: 16384, 65536, 131072.
  const bool is_round = size >= 1e4 && std::fmod(size, 1e3) == 0.0;
  if (size >= 1e6 || is_round) {
    for (const auto& [unit, letter] : {std::pair(1e12, "T"), {1e9, "B"}, {1e6, "M"}, {1e3, "K"}}) {
      if (size < unit) continue;
      char text[32];
      std::snprintf(text, sizeof text, "%.4g%s", value / unit, letter);
      return text;
    }
  }
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

}  // namespace longrun::client
