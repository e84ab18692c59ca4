#include "client/words/window.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

#include "client/words/render.h"

namespace longrun::client {
namespace {

constexpr std::size_t kColumnsAssumed = 80;

}  // namespace

TerminalSize SizeOfStderr() {
  TerminalSize window;
  if (!OnTerminal()) return window;
  winsize size{};
  const bool is_known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0;
  if (is_known && size.ws_row > 1) window.rows = size.ws_row;
  window.columns = is_known && size.ws_col > 0 ? size.ws_col : kColumnsAssumed;
  return window;
}

std::size_t DisplayWidth(std::string_view text) {
  std::size_t width = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b') {
      while (i < text.size() && text[i] != 'm') ++i;
      continue;
    }
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) ++width;
  }
  return width;
}

std::size_t RowsOf(std::string_view text, std::size_t columns) {
  std::size_t n_rows = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::size_t width = DisplayWidth(text.substr(0, end));
    n_rows += width > columns ? (width + columns - 1) / columns : 1;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return n_rows;
}

}  // namespace longrun::client
