// An attempt's folder: its files, and the small records that worker and shim leave there for each
// other. The trainer writes journal.jsonl, trainer.log and checkpoints/. The shim writes shim.json
// and exit.json (for which it reserves room), and holds shim.lock as long as it lives. The worker
// writes task.json, acked and, if it finds that the shim died without exit.json, abandoned.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/files.h"
#include "base/status.h"
#include "sweeps/event.h"
#include "sweeps/task.h"
#include "sweeps/worker_folder.h"

namespace longrun::agent {

struct AttemptFolder {
  std::string path;  // absolute: STATE/attempts/ULID

  std::string TaskFilePath() const { return path + "/task.json"; }
  std::string Journal() const { return JoinPath(path, kJournalName); }
  std::string Log() const { return path + "/trainer.log"; }
  std::string Checkpoints() const { return CheckpointsFolder(path); }
  std::string Acked() const { return path + "/acked"; }
  std::string Shim() const { return path + "/shim.json"; }
  std::string ShimLock() const { return ShimLockPath(path); }
  std::string Exit() const { return path + "/exit.json"; }
  std::string ExitRoom() const { return path + "/.exit.json.room"; }
  std::string Abandoned() const { return path + "/abandoned"; }
};

// The facts about the attempt that the worker keeps beside its task file. `durable_seq` is for
// people and for a start without a coordinator. Otherwise the value in Welcome counts.
inline constexpr int kUnknownSlot = -1;
struct AckedRecord {
  int device_index = 0;          // the slot it occupies, or kUnknownSlot
  std::int64_t durable_seq = 0;  // committed and synced by the coordinator
  bool ended = false;            // the attempt's end is stored as well
  std::int64_t ended_wall_ms = 0;
};

// (pid, start ticks) identifies a process permanently.
struct ProcessName {
  int pid = 0;
  std::uint64_t start_ticks = 0;
};
// Sends `signal` if the pid still is that process; returns false if the process is gone. `group`:
// signals its whole process group.
bool SignalProcess(const ProcessName& process, int signal, bool group);

// False for a zombie: it holds no resources any more.
bool IsRunning(const ProcessName& process);

struct ShimRecord {
  ProcessName shim;
  std::optional<ProcessName> trainer;  // leads its own process group
};

// The end of the trainer, as the shim saw it.
struct ExitRecord {
  int code = -1;                // exit code, or -1
  int signal = 0;               // the signal that ended it, or 0
  bool oom_kill = false;        // the kernel's out-of-memory killer acted in our cgroup
  bool stop_requested = false;  // the shim was told to stop it
  std::int64_t user_ms = 0;     // CPU time
  std::int64_t system_ms = 0;
  std::int64_t rss_bytes_max = 0;
};

// Each record appears complete or not at all. Reading gives kNotFound if it does not exist.
Status WriteAcked(const AttemptFolder& folder, const AckedRecord& acked);
Result<AckedRecord> ReadAcked(const AttemptFolder& folder);
Status WriteShim(const AttemptFolder& folder, const ShimRecord& shim);
Result<ShimRecord> ReadShim(const AttemptFolder& folder);
// Reserves the room that WriteExit() needs, so that it works on a full disk, too. (On a file system
// that never overwrites, such as btrfs, it may not.)
Status ReserveExit(const AttemptFolder& folder);
Status WriteExit(const AttemptFolder& folder, const ExitRecord& exit);
Result<ExitRecord> ReadExit(const AttemptFolder& folder);
Result<TaskFile> ReadTaskFile(const AttemptFolder& folder);

}  // namespace longrun::agent
