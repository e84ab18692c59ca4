// Log lines: one write(2) per line, so that lines of threads and processes never mix.
#include "base/log.h"

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>

#include "base/clock.h"
#include "base/str.h"

namespace longrun {
namespace {

// Without quotes if the end of the value is clear, else quoted as in JSON.
void AppendValue(std::string& line, std::string_view value) {
  bool is_bare = !value.empty();
  for (const char c : value) {
    if (static_cast<unsigned char>(c) <= ' ' || c == '"' || c == '=' || c == '\\') is_bare = false;
  }
  if (is_bare) {
    line += value;
    return;
  }
  line += '"';
  for (const char c : value) {
    if (c == '"' || c == '\\') {
      line += '\\';
      line += c;
    } else if (c == '\n') {
      line += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
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
