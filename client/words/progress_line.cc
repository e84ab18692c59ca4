#include "client/words/progress_line.h"

#include <cstdio>

#include "base/str.h"
#include "base/units.h"
#include "client/console/output.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

constexpr std::int64_t kLineEveryMs = 30'000;
constexpr std::int64_t kRedrawEveryMs = 200;

}  // namespace

ProgressLine::~ProgressLine() { Clear(); }

void ProgressLine::Clear() {
  if (drawn_) std::fputs("\r\x1b[K", stderr);
  drawn_ = false;
}

void ProgressLine::Show(const std::string& text) {
  const bool is_terminal = OnTerminal();
  const std::int64_t now_ms = BootMs();
  if (now_ms - shown_ms_ < (is_terminal ? kRedrawEveryMs : kLineEveryMs)) return;
  shown_ms_ = now_ms;
  std::fprintf(stderr, is_terminal ? "\r\x1b[K%s" : "%s\n", FitLine(text, SizeOfStderr()).c_str());
  drawn_ = is_terminal;
}

void ProgressLine::Tell(const std::string& text) {
  Clear();
  SayLine(text);
}

std::string FitLine(const std::string& text, const TerminalSize& window) {
  return window.columns > 0 ? ClipLines(text, window.columns - 1) : text;
}

std::string BytesProgress(const std::string& what, std::int64_t done, std::int64_t of) {
  return Str(what, ": ", FormatBytes(done), " of ", FormatBytes(of));
}

}  // namespace longrun::client
