// The complete daemon: store, core, services, socket, metrics, and its shutdown.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/access.h"
#include "coordinator/scheduler/state.h"

namespace longrun::coordinator {

struct ServerOptions {
  std::string state_folder;             // absolute
  std::vector<std::string> listen;      // "unix:PATH" (else: in the state folder), "HOST:PORT"
  std::string metrics = "127.0.0.1:0";  // a loopback address; port 0: any free one
  // Serves one command, which ends it: on the socket only, and without a metrics page.
  bool is_momentary = false;
  SchedulerLimits limits;
  AccessLimits access;
  std::int64_t disk_low_water_bytes = 64 << 20;
  std::int64_t unused_upload_bytes = 0;  // of one person; 0: a quarter of the state folder's disk
  std::int64_t kept_file_bytes = 0;      // of one person; 0: a quarter of that disk
  std::int64_t registered_bytes = 0;     // of one person; 0: a quarter of that disk
  std::int64_t session_memory_bytes = 256 << 20;  // of all worker sessions (rpc/session_memory.h)
  std::int64_t connection_idle_ms = 300'000;      // without a call; then it is closed
  std::string shared_artifacts = {};  // a folder that workers see, too; "": as at the last start
};

// Serves until one of EndSignals() (which the caller has blocked in all threads), or until somebody
// removes the socket, then stops in order. While a command's coordinator holds the folder, waits
// for it or for one of these signals. Returns the exit code: 0, or one of sysexits.h (65 damaged
// database, 69 in use, 74 disk or no socket, 77 permission, 78 configuration), with the reason in
// the log.
int RunServer(const ServerOptions& options);

}  // namespace longrun::coordinator
