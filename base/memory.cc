// See memory.h.
#include "base/memory.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>

#include "base/files.h"
#include "base/str.h"

namespace longrun {
namespace {

// The smallest memory limit of our cgroup and those above it (version 2).
std::optional<std::int64_t> CgroupMemoryMax() {
  const Result<std::string> groups = ReadFile("/proc/self/cgroup");
  if (!groups) return std::nullopt;
  std::optional<std::int64_t> smallest;
  for (const std::string& line : Split(*groups, '\n')) {
    if (!line.starts_with("0::")) continue;
    for (std::string group = line.substr(3); !group.empty();
         group = group.substr(0, group.rfind('/'))) {
      const std::string folder = group == "/" ? "/sys/fs/cgroup" : Str("/sys/fs/cgroup", group);
      const Result<std::string> text = ReadFile(folder + "/memory.max");
      std::int64_t limit = 0;
      if (!text) continue;
      const auto parsed = std::from_chars(text->data(), text->data() + text->size(), limit);
      if (parsed.ec != std::errc()) continue;  // "max"
      smallest = std::min(smallest.value_or(limit), limit);
    }
  }
  return smallest;
}

}  // namespace

std::int64_t PhysicalMemoryBytes() {
  return std::int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
}

std::int64_t MachineMemoryBytes() {
  const std::int64_t machine = PhysicalMemoryBytes();
  return std::min(machine, CgroupMemoryMax().value_or(machine));
}

}  // namespace longrun
