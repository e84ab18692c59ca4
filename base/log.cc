// Log lines: one write(2) per line, so that lines of threads and processes never mix.
#include "base/log.h"

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>

#include "base/clock.h"
#include "base/str.h"
#include "base/utf8.h"

namespace longrun {
namespace {

// Without quotes if the end of the value is clear, else quoted as in JSON.
void AppendValue(std::string& line, std::string_view value) {
  bool is_bare = !value.empty();
  for (const char c : value) {
    if (static_cast<unsigned char>(c) <= ' ' || c == '"' || c == '=' || c == '\\') is_bare = false;
  }
  is_bare = is_bare && IsOneLine(value);
  if (is_bare) {
    line += value;
    return;
  }
  line += '"';
  for (std::size_t i = 0; i < value.size(); ++i) {
    const char c = value[i];
    const std::string_view next = value.substr(i + 1);
    // U+0080 to U+009F, two bytes from c2, are control characters as well.
    const bool is_c1 = c == '\xc2' && !next.empty() && next < "\xa0" && next >= "\x80";
    if (c == '"' || c == '\\') {
      line += '\\';
      line += c;
    } else if (c == '\n') {
      line += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f || is_c1) {
      char escape[8];
      const unsigned code = static_cast<unsigned char>(is_c1 ? value[++i] : c);
      std::snprintf(escape, sizeof escape, "\\u%04x", code);
      line += escape;
    } else {
      line += c;
    }
  }
  line += '"';
}

// Whether the newest line could not be written to its end, because the disk was full.
std::atomic<bool> g_is_cut = false;

void Write(char level, std::string_view event, LogFields fields) {
  const std::int64_t now = WallMs();
  std::string line = Str(level, " ", FormatWallMs(now));
  line.pop_back();  // the Z, which goes after the milliseconds
  char ms[8];
  std::snprintf(ms, sizeof ms, ".%03dZ", static_cast<int>(now % 1000));
  StrAppend(line, ms);
  StrAppend(line, ' ');
  StrAppend(line, event);
  for (const auto& [name, value] : fields) {
    StrAppend(line, ' ');
    StrAppend(line, name);
    StrAppend(line, '=');
    AppendValue(line, value);
  }
  line += '\n';
  // Else a reader would take the line for the rest of the one that was cut.
  const bool was_cut = g_is_cut.exchange(false);
  if (was_cut) line.insert(line.begin(), '\n');
  std::string_view rest = line;
  while (!rest.empty()) {
    const ssize_t n = write(STDERR_FILENO, rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {  // there is nowhere to report that the log is gone
      g_is_cut = was_cut || rest.size() < line.size();
      return;
    }
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
}

}  // namespace

void LogInfo(std::string_view event, LogFields fields) { Write('I', event, fields); }
void LogWarning(std::string_view event, LogFields fields) { Write('W', event, fields); }
void LogError(std::string_view event, LogFields fields) { Write('E', event, fields); }

bool RepeatedError::IsDue(std::string_view text, std::int64_t now_ms) {
  constexpr std::int64_t kAgainMs = 60'000;
  if (text == text_ && now_ms < next_ms_) return false;
  text_ = text;
  next_ms_ = now_ms + kAgainMs;
  return true;
}

}  // namespace longrun
