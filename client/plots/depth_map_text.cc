#include "client/plots/depth_map_text.h"

#include <algorithm>
#include <cstdint>

#include "base/str.h"
#include "client/plots/colour_bar.h"

namespace longrun::client {
namespace {

std::string Padded(const std::string& text, std::size_t width) {
  return Str(std::string(width > text.size() ? width - text.size() : 0, ' '), text);
}

// A number on the colour of its share, in black or white.
std::string OnColour(const std::string& text, double share) {
  const std::uint32_t rgb = HeatColour(share);
  return Str("\x1b[48;2;", rgb >> 16, ";", (rgb >> 8) & 0xff, ";", rgb & 0xff, ";38;2;",
             share < 0.6 ? "255;255;255" : "0;0;0", "m", text, "\x1b[0m");
}

std::string CellText(const DepthCell& cell, std::size_t width, bool colour) {
  const std::string text = cell.value                   ? Percent(*cell.value)
                           : cell.status == "not_asked" ? ""
                                                        : "-";
  const std::string padded = Padded(text, width);
  return colour && cell.value ? OnColour(padded, *cell.value) : padded;
}

}  // namespace

std::string RenderDepthText(const DepthMap& map, const DepthTextStyle& style) {
  constexpr std::size_t kHead = 7;  // "  100% "
  std::size_t width = 5;            // " 100%"
  for (const std::string& length : map.lengths) width = std::max(width, length.size() + 1);
  const auto room = static_cast<std::size_t>(std::max(style.width, 20)) - kHead;
  const std::size_t per_block = std::max<std::size_t>(1, room / width);
  std::string out = Str(map.title, "\n");
  if (!map.name.empty()) out += Str(map.name, "\n");
  for (std::size_t begin = 0; begin < map.lengths.size(); begin += per_block) {
    const std::size_t end = std::min(map.lengths.size(), begin + per_block);
    const auto line = [&](const std::string& head, const auto& text_at) {
      std::string text = Str(Padded(head, kHead - 1), " ");
      for (std::size_t l = begin; l < end; ++l) text += text_at(l);
      while (text.ends_with(' ')) text.pop_back();
      out += text + "\n";
    };
    out += "\n";
    line("depth", [&](std::size_t l) { return Padded(map.lengths[l], width); });
    for (std::size_t d = 0; d < map.depths.size(); ++d) {
      line(Percent(map.depths[d]),
           [&](std::size_t l) { return CellText(map.At(d, l), width, style.colour); });
    }
    if (!map.all.empty()) {
      line("all", [&](std::size_t l) { return CellText(map.all[l], width, style.colour); });
    }
  }
  if (map.train_length > 0) out += Str("train length ", map.train_length, "\n");
  for (const std::string& note : NotesOf(map)) out += note + "\n";
  return out;
}

}  // namespace longrun::client
