#include "metrics/process.h"

#include <sys/resource.h>
#include <unistd.h>

#include <charconv>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/str.h"

namespace longrun {
namespace {

std::int64_t IntOf(const std::string& text) {
  std::int64_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  return parsed.ec == std::errc() ? number : 0;
}

// The number after `key` on the line that begins with it, or 0.
std::int64_t NumberAfter(const std::string& text, std::string_view key) {
  for (const std::string& line : Split(text, '\n')) {
    if (line.starts_with(key)) return IntOf(std::string(Trim(line.substr(key.size()))));
  }
  return 0;
}

}  // namespace

ProcessNumbers ReadProcessNumbers() {
  ProcessNumbers numbers;
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  if (const auto stat = ReadFile("/proc/self/stat"); stat.ok()) {
    // The program's name, in brackets, may contain anything; field 3 follows it.
    const std::vector<std::string> fields = Split(stat->substr(stat->rfind(')') + 2), ' ');
    if (fields.size() > 21) {
      numbers.cpu_seconds = static_cast<double>(IntOf(fields[11]) + IntOf(fields[12])) / ticks;
      numbers.virtual_bytes = IntOf(fields[20]);
      numbers.resident_bytes = IntOf(fields[21]) * sysconf(_SC_PAGESIZE);
      if (const auto host = ReadFile("/proc/stat"); host.ok()) {
        numbers.start_time_seconds = static_cast<double>(NumberAfter(*host, "btime ")) +
                                     static_cast<double>(IntOf(fields[19])) / ticks;
      }
    }
  }
  if (const auto fds = ListFolder("/proc/self/fd"); fds.ok()) {
    numbers.open_fds = static_cast<std::int64_t>(fds->size());
  }
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    numbers.max_fds = static_cast<std::int64_t>(limit.rlim_cur);
  }
  return numbers;
}

}  // namespace longrun
