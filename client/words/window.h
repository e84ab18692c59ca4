// The room that a terminal has for text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace longrun::client {

struct TerminalSize {
  std::size_t rows = 25;
  std::size_t columns = 0;  // 0: lines may have any width
};

// The terminal of stderr. A terminal of unknown size counts as 25 rows of 80 letters; without a
// terminal, the text is for a log: as many rows, of any width.
TerminalSize SizeOfStderr();

// Letters on a terminal: UTF-8 continuation bytes and colour codes take no room.
std::size_t DisplayWidth(std::string_view text);

// How many rows of a terminal with so many columns a text takes; a line that is wider wraps.
std::size_t RowsOf(std::string_view text, std::size_t columns);

}  // namespace longrun::client
