// See usable_cpus.h.
#include "base/usable_cpus.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cstdint>

#include "base/files.h"
#include "base/str.h"

namespace longrun {
namespace {

// "QUOTA PERIOD" in microseconds, or "max PERIOD".
std::optional<int> CpusOf(const std::string& cpu_max) {
  std::int64_t quota = 0, period = 0;
  const char* const end = cpu_max.data() + cpu_max.size();
  const auto first = std::from_chars(cpu_max.data(), end, quota);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != ' ') return std::nullopt;
  const auto second = std::from_chars(first.ptr + 1, end, period);
  if (second.ec != std::errc() || quota <= 0 || period <= 0) return std::nullopt;
  return static_cast<int>(std::clamp<std::int64_t>(quota / period, 1, 1 << 20));
}

}  // namespace

std::optional<int> CgroupCpusMax(const std::string& groups, const std::string& mount) {
  std::optional<int> smallest;
  for (const std::string& line : Split(groups, '\n')) {
    if (!line.starts_with("0::/")) continue;
    // From our group, "/a/b", to the root, "". In a container, our group is often the root.
    for (std::string group(Trim(line.substr(3)));;) {
      if (group == "/") group.clear();
      const Result<std::string> text = ReadFile(Str(mount, group, "/cpu.max"));
      const std::optional<int> cpus = text.ok() ? CpusOf(*text) : std::nullopt;
      if (cpus) smallest = std::min(smallest.value_or(*cpus), *cpus);
      if (group.empty()) break;
      group.resize(group.rfind('/'));
    }
  }
  return smallest;
}

int UsableCpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const int allowed =
      sched_getaffinity(0, sizeof set, &set) == 0 ? std::max(1, CPU_COUNT(&set)) : 1;
  const Result<std::string> groups = ReadFile("/proc/self/cgroup");
  const std::optional<int> quota =
      groups.ok() ? CgroupCpusMax(*groups, "/sys/fs/cgroup") : std::nullopt;
  return std::min(allowed, quota.value_or(allowed));
}

}  // namespace longrun
