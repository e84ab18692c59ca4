// One attempt on this machine: its folder, its shim, its journal. Knows nothing about the session;
// agent.h decides what is sent. Time is passed in (milliseconds of BootMs()).
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/held_file.h"
#include "base/log.h"
#include "base/status.h"
#include "sweeps/event.h"
#include "worker/agent/attempt_folder.h"

namespace longrun::agent {

struct AttemptIds {
  std::string attempt;  // ULID
  std::string task;
  std::string run_key;
  std::uint64_t epoch = 0;
};

class LocalAttempt {
 public:
  struct Launch {
    AttemptIds ids;
    AttemptFolder folder;
    int device_index = 0;
    std::string task_json;  // complete, with this machine's paths
    std::string program;    // longrun-worker itself, for `exec`
    std::string trainer;
    std::vector<std::string> env;  // the trainer's whole environment
  };
  // Creates the folder and starts the shim, in its own session (setsid).
  static Result<std::unique_ptr<LocalAttempt>> Start(const Launch& launch);
  // Takes over a folder from an earlier worker process. kNotFound if nothing was started in it (no
  // task.json); the folder may then be removed. kUnavailable: its files may be readable later. If
  // the record of its slot and of what was acknowledged is damaged, the attempt is stopped, and its
  // whole journal is sent again.
  static Result<std::unique_ptr<LocalAttempt>> Adopt(const AttemptFolder& folder);
  // Kills what runs in a folder that cannot be adopted: nobody could store what it computes, and
  // its slot would be given to another attempt. False if nothing runs there, or nobody knows what.
  static bool KillUnadopted(const AttemptFolder& folder);

  const AttemptIds& ids() const { return ids_; }
  const AttemptFolder& folder() const { return folder_; }
  const AckedRecord& acked() const { return acked_; }

  // Checks whether shim and trainer are still running, and continues a stop: SIGTERM, then SIGKILL
  // for the trainer's group.
  void Poll(std::int64_t now_ms);
  bool running() const { return running_; }
  // SIGTERM now, SIGKILL after the grace period. The earliest of several deadlines counts.
  void RequestStop(std::int64_t now_ms, std::int64_t grace_ms);
  bool stop_requested() const { return stop_requested_; }
  // SIGKILL to the shim and its trainer, at once and without using their folder, which may be gone.
  void Kill();
  // The shim's exit record; nullopt if the shim died without one. Only when not running.
  std::optional<ExitRecord> Exit() const;

  // Journal. Fill() reads further records, and adds them to pending() only after an fdatasync of
  // the journal, so that a power loss cannot undo anything that was sent. Returns false if there
  // was nothing new.
  Result<bool> Fill(std::int64_t now_ms);
  std::deque<JournalReader::Line>& pending() { return pending_; }
  void RewindTo(std::int64_t durable_seq);  // empties pending; the next record is durable_seq + 1
  std::int64_t last_seq() const { return reader_.last_seq(); }
  // The number of bytes in the journal that were not read yet, plus those in pending().
  std::int64_t BacklogBytes() const;

  // New bytes of trainer.log, at most 64 KiB per second; nullopt if there are none. If it falls far
  // behind, it skips to the end of the log. After the trainer's end, LogTail has the last bytes.
  struct LogPiece {
    std::int64_t offset = 0;
    std::string data;
  };
  std::optional<LogPiece> NextLogPiece(std::int64_t now_ms);
  std::string LogTail() const;  // the last 4 KiB

  void Acknowledge(std::int64_t durable_seq);
  // Notes that the end is stored, and writes this to the disk at once. Acknowledge() only notes its
  // number; FlushAcked() writes what was noted, at most once a second.
  Status MarkEnded(std::int64_t wall_ms);
  // Called if the coordinator no longer has the end.
  void TakeBackEnd();
  Status FlushAcked(std::int64_t now_ms);

 private:
  LocalAttempt(AttemptIds ids, AttemptFolder folder);
  bool ShimIsGone(std::int64_t now_ms);
  void EndWithoutFolder();
  bool IsOurs(const ProcessName& process) const;
  const std::optional<ShimRecord>& Shim();

  AttemptIds ids_;
  AttemptFolder folder_;
  AckedRecord acked_;
  bool acked_dirty_ = false;
  std::int64_t acked_written_ms_ = 0;

  bool running_ = false;
  std::optional<HeldFile> held_folder_;  // while it runs: in which its processes work
  int child_pid_ = -1;                   // a shim that is our child; -1: adopted or reaped
  std::optional<ShimRecord> shim_;       // as last read
  bool stop_requested_ = false;
  bool stop_sent_ = false;
  std::int64_t kill_at_ms_ = 0;
  RepeatedError not_marked_;

  JournalReader reader_;
  std::deque<JournalReader::Line> pending_;
  bool journal_broken_ = false;
  bool folder_is_gone_ = false;

  std::int64_t log_offset_ = 0;
  std::int64_t log_next_ms_ = 0;
};

}  // namespace longrun::agent
