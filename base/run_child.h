// Runs a child process to its end, and keeps what it printed and how it ended.
#pragma once

#include <cstdint>
#include <string>

#include "base/process.h"
#include "base/status.h"

namespace longrun {

struct ChildLimits {
  std::int64_t timeout_ms = -1;  // -1: none
  std::size_t printed_bytes_max = std::size_t{1} << 32;
};

struct ChildRun {
  bool is_late = false;  // it had not ended in time, and was killed
  ExitInfo exit = {};
  std::string printed = {};    // its standard output
  std::string last_line = {};  // of its standard error; "" if it said nothing there

  bool ok() const { return !is_late && exit.code == 0; }
  // Why it failed, in a few words: its last line; if it said nothing or a signal ended it, how it
  // ended: "it was ended by signal 9 (Killed)".
  std::string Complaint() const;
};

// Of `options`, the files are set here: what the child prints needs no disk, which may be full. A
// child that is late is killed; with `own_group`, so are its children. An error if it could not be
// started or waited for, or printed more than it may.
Result<ChildRun> RunChild(SpawnOptions options, const ChildLimits& limits = {});

}  // namespace longrun
