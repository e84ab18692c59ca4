// What `longrun doctor` looks at: this machine as it is, or as a test says it is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/cpu_paths.h"

namespace longrun {

struct Machine {
  std::string state;    // folder, absolute
  std::string trainer;  // program
  // 0 where it could not be found out.
  std::int64_t wall_ms = 0;
  std::int64_t newest_file_wall_ms = 0;  // of the state folder
  std::int64_t memory_bytes = 0;         // available to us now
  std::int64_t disk_free_bytes = 0;
  double sync_ms = 0;  // of 4 KiB, median
  // Of writing into the state folder, or of making it where it is not there yet.
  int write_errno = 0;
  std::int64_t open_files = 0;          // soft limit
  std::int64_t processes = 0;           // soft limit
  std::int64_t file_bytes = 0;          // soft limit on the size of a file
  CpuPaths cpu_paths = {};              // what a worker here offers for a new run
  bool has_nvidia_device = false;       // on the PCI bus
  std::optional<int> nvidia_gpus = {};  // that the driver's library counts; nothing: no library
  std::string metrics_address = {};     // $LONGRUN_METRICS, or ""
  std::vector<std::string> ignored_variables = {};  // IgnoredFolderVariables()
};

// The folder, or the nearest one above it that is there.
std::string NearestFolder(std::string folder);

// How this machine is. Writes a small file into the state folder, or where that is not there yet makes a
// folder in the nearest one above it, and removes it.
Machine LookAtMachine(const std::string& state);

}  // namespace longrun
