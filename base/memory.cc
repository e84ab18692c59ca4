// See memory.h.
#include "base/memory.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/str.h"

namespace longrun {
namespace {

// Reads a limit of a group; nullopt if it is not there, or is no number: "max".
std::optional<std::int64_t> ReadLimit(const std::string& path) {
  const Result<std::string> text = ReadFile(path);
  if (!text) return std::nullopt;
  std::int64_t limit = 0;
  const auto parsed = std::from_chars(text->data(), text->data() + text->size(), limit);
  if (parsed.ec != std::errc()) return std::nullopt;
  return limit;
}

// The smallest limit in the file `name` of `group` and of the groups above it.
std::optional<std::int64_t> SmallestLimit(const std::string& mount, std::string group,
                                          const char* name) {
  std::optional<std::int64_t> smallest;
  while (true) {
    const std::string folder = group == "/" ? mount : mount + group;
    if (const auto limit = ReadLimit(JoinPath(folder, name))) {
      smallest = std::min(smallest.value_or(*limit), *limit);
    }
    if (group.empty() || group == "/") return smallest;
    group = group.substr(0, group.rfind('/'));
  }
}

// "MemTotal:       16000000 kB" -> bytes.
std::optional<std::int64_t> BytesOf(std::string_view meminfo, std::string_view key) {
  for (const std::string& line : Split(meminfo, '\n')) {
    if (!line.starts_with(key)) continue;
    const std::string_view number = Trim(std::string_view(line).substr(key.size()));
    std::int64_t kibibytes = 0;
    const auto parsed = std::from_chars(number.data(), number.data() + number.size(), kibibytes);
    if (parsed.ec == std::errc()) return kibibytes * 1024;
  }
  return std::nullopt;
}

}  // namespace

std::optional<HostMemory> ParseHostMemory(std::string_view meminfo) {
  const auto total = BytesOf(meminfo, "MemTotal:"), available = BytesOf(meminfo, "MemAvailable:");
  if (!total || !available) return std::nullopt;
  return HostMemory{.total_bytes = *total, .used_bytes = *total - *available};
}

std::optional<HostMemory> ReadHostMemory() {
  const Result<std::string> text = ReadFile("/proc/meminfo");
  return text.ok() ? ParseHostMemory(*text) : std::nullopt;
}

std::optional<std::int64_t> CgroupMemoryMax(const std::string& groups, const std::string& mount) {
  std::optional<std::int64_t> smallest;
  for (const std::string& line : Split(groups, '\n')) {
    // "0::/a/b" of version 2, "9:memory:/a/b" of version 1, whose controllers may share a line.
    const std::vector<std::string> parts = Split(line, ':');
    if (parts.size() < 3 || !parts[2].starts_with('/')) continue;
    std::optional<std::int64_t> limit;
    if (parts[1].empty()) {
      limit = SmallestLimit(mount, parts[2], "memory.max");
    } else if (std::ranges::count(Split(parts[1], ','), "memory") > 0) {
      limit = SmallestLimit(JoinPath(mount, "memory"), parts[2], "memory.limit_in_bytes");
    }
    if (limit) smallest = std::min(smallest.value_or(*limit), *limit);
  }
  return smallest;
}

std::int64_t PhysicalMemoryBytes() {
  return std::int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
}

std::int64_t MachineMemoryBytes() {
  const std::int64_t machine = PhysicalMemoryBytes();
  const Result<std::string> groups = ReadFile("/proc/self/cgroup");
  if (!groups) return machine;
  return std::min(machine, CgroupMemoryMax(*groups, "/sys/fs/cgroup").value_or(machine));
}

}  // namespace longrun
