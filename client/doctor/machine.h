// The input of `longrun doctor`: this machine, or the machine of a test.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/cpu_paths.h"

namespace longrun::client {

// "/usr/bin/longrun-worker" is "0.1.0 (3f2a91c0b7d4)".
struct ProgramVersion {
  std::string program;
  std::string version;  // with the commit, as `--version` says; "" if it does not say one
};

struct MachineFacts {
  std::string state;    // folder, absolute
  std::string trainer;  // program
  // Numbers are 0 if they could not be determined.
  std::int64_t wall_ms = 0;
  std::int64_t newest_file_wall_ms = 0;  // of the state folder
  std::int64_t memory_bytes = 0;         // available to us now
  std::int64_t disk_free_bytes = 0;
  double sync_ms = 0;  // median time to write and sync 4 KiB
  // The errno of writing into the state folder, or of creating it if it does not exist.
  int write_errno = 0;
  std::int64_t open_files = 0;     // soft limit
  std::int64_t processes = 0;      // soft limit
  std::int64_t file_bytes = 0;     // soft limit on the size of a file
  CpuPaths cpu_paths = {};         // what a worker here offers for a new run
  bool has_nvidia_device = false;  // on the PCI bus
  // Counted by the driver's library; nullopt: no library; -1: the library gives no number.
  std::optional<int> nvidia_gpus = {};
  std::string metrics_address = {};                 // $LONGRUN_METRICS, or ""
  std::vector<std::string> ignored_variables = {};  // IgnoredFolderVariables()
  std::vector<ProgramVersion> programs = {};        // those that `longrun` starts
};

// The folder, or its nearest existing parent.
std::string NearestFolder(std::string folder);

// Examines this machine. To do so, writes a small file into the state folder or, if that does not
// exist, creates a folder in its nearest existing parent, and removes it.
MachineFacts LookAtMachine(const std::string& state);

}  // namespace longrun::client
