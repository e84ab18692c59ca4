#include "client/plots/heat_map_text.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string_view>
#include <utility>

#include "base/str.h"
#include "client/plots/colour_bar.h"

namespace longrun::client {
namespace {

std::string ColourCode(bool on_back, std::uint32_t rgb) {
  return Str("\x1b[", on_back ? 48 : 38, ";2;", rgb >> 16, ";", (rgb >> 8) & 0xff, ";", rgb & 0xff,
             "m");
}

// Two cells, one above the other, in one character.
std::string Coloured(std::optional<double> upper, std::optional<double> lower) {
  if (!upper && !lower) return " ";
  const char* const end = "\x1b[0m";
  if (!lower) return Str(ColourCode(false, HeatColour(*upper)), "▀", end);
  if (!upper) return Str(ColourCode(false, HeatColour(*lower)), "▄", end);
  return Str(ColourCode(false, HeatColour(*upper)), ColourCode(true, HeatColour(*lower)), "▀", end);
}

std::string Shade(std::optional<double> upper, std::optional<double> lower) {
  constexpr std::string_view kShades = ".:-=+*#%@";  // a visible cell is never blank
  if (!upper && !lower) return " ";
  const double unit = std::max(upper.value_or(0.0), lower.value_or(0.0));
  const auto last = static_cast<double>(kShades.size() - 1);
  return std::string(1, kShades[static_cast<std::size_t>(std::lround(unit * last))]);
}

// "·" as "-", another letter beyond ASCII as "?".
std::string Ascii(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) == 0xb7 && out.ends_with('?')) {
      out.back() = '-';
    } else if (static_cast<unsigned char>(c) < 0x80) {
      out += c;
    } else if ((static_cast<unsigned char>(c) & 0xc0) == 0xc0) {
      out += '?';
    }
  }
  return out;
}

}  // namespace

std::string RenderHeatText(const HeatMap& heat, const HeatTextStyle& style) {
  HeatMap drawn = heat;
  drawn.map = PoolMap(std::move(drawn.map), std::max(8, style.width), AttentionMap::Pool::kMean);
  const std::int64_t side = drawn.map.Side();
  std::string out = Str(drawn.title, "\n");
  for (const std::string& line : drawn.subtitle) out += Str(line, "\n");
  out += "\n";
  const std::string last = TickText(static_cast<double>(drawn.map.n_tokens));
  for (std::int64_t r = 0; r < side; r += 2) {
    const std::string label = r == 0 ? "0" : r + 2 >= side ? last : "";
    out += Str(std::string(label.size() < 7 ? 7 - label.size() : 0, ' '), label, " ");
    for (std::int64_t c = 0; c < side; ++c) {
      const std::optional<double> upper = drawn.UnitAt(r, c);
      const std::optional<double> lower =
          r + 1 < side ? drawn.UnitAt(r + 1, c) : std::optional<double>();
      out += style.colour ? Coloured(upper, lower) : Shade(upper, lower);
    }
    while (out.ends_with(' ')) out.pop_back();
    out += "\n";
  }
  const auto gap = static_cast<std::size_t>(
      std::max<std::int64_t>(1, side - 1 - static_cast<std::int64_t>(last.size())));
  out += Str("        0", std::string(gap, ' '), last, "\n");
  out += "        rows: queries, columns: keys";
  if (drawn.train_length > 0) out += Str("; train length ", drawn.train_length);
  out += Str(
      "\n        ", drawn.scale.is_log ? "logarithmic from " : "from ", TickText(drawn.scale.low),
      style.colour ? Str(" ", ColourCode(false, HeatColour(0.0)), "█", "\x1b[0m") : " .", " to ",
      TickText(drawn.scale.high),
      style.colour ? Str(" ", ColourCode(false, HeatColour(1.0)), "█", "\x1b[0m") : " @", "\n");
  if (drawn.map.block > heat.map.block) {
    out += Str("        here a letter is the ", PoolName(drawn.map.pooled_by), " of ",
               drawn.map.block, " x ", drawn.map.block, " pairs\n");
  }
  for (const std::string& note : drawn.notes) out += Str("        ", note, "\n");
  return style.ascii ? Ascii(out) : out;
}

}  // namespace longrun::client
