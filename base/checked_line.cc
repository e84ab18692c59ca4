// See checked_line.h.
#include "base/checked_line.h"

#include <cstddef>
#include <cstdio>

#include "base/hash.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr std::size_t kMendedBytesMax = 655;

std::optional<std::string> ReadWhole(std::string_view line) {
  const std::size_t space = line.rfind(' ');
  if (space == std::string_view::npos) return std::nullopt;
  const std::string_view text = line.substr(0, space);
  if (line.substr(space + 1) != ChecksumText(text)) return std::nullopt;
  return std::string(text);
}

}  // namespace

std::string ChecksumText(std::string_view text) {
  char checksum[16];
  std::snprintf(checksum, sizeof checksum, "crc32c=%08x", static_cast<unsigned>(Crc32c(text)));
  return checksum;
}

std::string CheckedLine(std::string_view text) { return Str(text, " ", ChecksumText(text), "\n"); }

std::optional<std::string> ReadCheckedLine(std::string_view line) {
  std::optional<std::string> text = ReadWhole(Trim(line));
  if (text || line.empty() || line.size() > kMendedBytesMax) return text;
  // The flipped bit may be in the line feed, which the checksum does not cover.
  std::string whole(line.substr(0, line.size() - 1));
  text = ReadWhole(whole);
  if (text) return text;
  for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
    char& byte = whole[bit / 8];
    const char as_read = byte;
    byte = static_cast<char>(byte ^ (1 << bit % 8));
    text = ReadWhole(whole);
    if (text) return text;
    byte = as_read;
  }
  return std::nullopt;
}

}  // namespace longrun
