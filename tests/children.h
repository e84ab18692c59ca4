// Processes of this machine, for tests that find, kill or await them.
#pragma once

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/files.h"
#include "base/process.h"
#include "base/str.h"

namespace longrun {

// The fields of /proc/PID/stat after the name in brackets, which may contain anything: state,
// parent, ... Empty if the process is gone.
inline std::vector<std::string> StatOf(int pid) {
  const Result<std::string> stat = ReadFile(Str("/proc/", pid, "/stat"));
  if (!stat.ok()) return {};
  return Split(Trim(std::string_view(*stat).substr(stat->rfind(')') + 1)), ' ');
}

inline std::vector<int> ProcessIds() {
  std::vector<int> pids;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename().string();
    int pid = 0;
    const auto [end, wrong] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (wrong == std::errc() && end == name.data() + name.size()) pids.push_back(pid);
  }
  return pids;
}

// Empty for a zombie and for a process that is gone.
inline std::vector<std::string> CommandLine(int pid) {
  const Result<std::string> text = ReadFile(Str("/proc/", pid, "/cmdline"));
  if (!text.ok() || text->empty()) return {};
  return Split(*text, '\0');
}

inline std::vector<int> ChildrenOf(int parent) {
  std::vector<int> children;
  for (const int pid : ProcessIds()) {
    const std::vector<std::string> fields = StatOf(pid);
    if (fields.size() > 1 && fields[1] == Str(parent)) children.push_back(pid);
  }
  return children;
}

// A process that has ended stays a zombie until its parent, or init, reaps it.
inline bool HasEnded(int pid) {
  const std::vector<std::string> fields = StatOf(pid);
  return fields.empty() || fields[0] == "Z";
}

// Whether a child of the process has computed for so long that it has long since started.
inline bool HasWorked(int parent) {
  return std::ranges::any_of(ChildrenOf(parent), [](int child) {
    return ProcessBusyTicks(child).value_or(0) >= 20;  // 0.2 s
  });
}

}  // namespace longrun
