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

// The size of stderr's terminal; 25 rows of 80 letters if it is unknown. Without a terminal, the
// text is for a log: 25 rows of any width.
TerminalSize SizeOfStderr();

// The number of letters that a terminal shows: UTF-8 continuation bytes and colour codes take no
// room.
std::size_t DisplayWidth(std::string_view text);

// The number of rows that a text takes on a terminal with `columns` columns; wider lines wrap.
std::size_t RowsOf(std::string_view text, std::size_t columns);

}  // namespace longrun::client
