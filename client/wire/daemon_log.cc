// See daemon_log.h.
#include "client/wire/daemon_log.h"

#include <algorithm>
#include <iterator>
#include <optional>

#include "base/files.h"
#include "base/program.h"
#include "base/str.h"

namespace longrun::client {
namespace {

constexpr std::int64_t kTailBytes = 16 << 10;
constexpr std::string_view kField = " error=\"";

// The error that a line names, or the line itself if it names none; nullopt if the line ends within
// the error, which the daemon could then not write to its end.
std::optional<std::string> ErrorOf(std::string_view line) {
  const std::size_t at = line.find(kField);
  if (at == std::string_view::npos) return std::string(line);
  std::string error;
  for (std::size_t i = at + kField.size(); i < line.size(); ++i) {
    if (line[i] == '"') return error;
    if (line[i] == '\\' && i + 1 < line.size()) ++i;
    error += line[i];
  }
  return std::nullopt;
}

}  // namespace

std::string LastErrorIn(std::string_view text) {
  std::string last;
  for (std::size_t end; (end = text.find('\n')) != std::string_view::npos;
       text.remove_prefix(end + 1)) {
    const std::string_view line = text.substr(0, end);
    if (Trim(line).empty() || line.starts_with("I 2") || line.ends_with(kUsageHint)) continue;
    if (std::optional<std::string> error = ErrorOf(line)) last = *std::move(error);
  }
  return last;
}

bool IsMigratingIn(std::string_view text) {
  bool is_migrating = false;
  for (std::size_t end; (end = text.find('\n')) != std::string_view::npos;
       text.remove_prefix(end + 1)) {
    const std::string_view line = text.substr(0, end);
    if (line.find(" database_migrates ") != std::string_view::npos) is_migrating = true;
    if (line.find(" serving ") != std::string_view::npos) is_migrating = false;
  }
  return is_migrating;
}

bool IsMigrating(const std::string& log) {
  const Result<std::string> text = ReadFile(log);
  if (!text.ok()) return false;
  std::string_view tail = *text;
  tail.remove_prefix(
      static_cast<std::size_t>(std::max<std::int64_t>(0, std::ssize(tail) - kTailBytes)));
  return IsMigratingIn(tail);
}

std::string LastError(const std::string& log, std::int64_t begin) {
  const Result<std::string> text = ReadFile(log);
  if (!text.ok() || std::ssize(*text) <= begin) return "";
  std::string_view tail = *text;
  const std::int64_t skipped = std::max(begin, std::ssize(*text) - kTailBytes);
  tail.remove_prefix(static_cast<std::size_t>(skipped));
  if (skipped > begin) tail.remove_prefix(std::min(tail.size(), tail.find('\n')));
  return LastErrorIn(tail);
}

}  // namespace longrun::client
