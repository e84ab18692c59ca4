// One attempt: start, adoption, stop, journal, log.
#include "worker/agent/attempt.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <utility>

#include "base/absent.h"
#include "base/access.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/files.h"
#include "base/held_file.h"
#include "base/json.h"
#include "base/process.h"
#include "base/str.h"

namespace longrun::agent {
namespace {

constexpr std::size_t kFillRecords = 512;
constexpr std::size_t kFillBytes = 1u << 20;
constexpr std::int64_t kLogPieceBytes = 64 << 10;
constexpr std::int64_t kLogPieceMs = 1000;
constexpr std::int64_t kLogTailBytes = 4 << 10;
constexpr std::int64_t kAckedEveryMs = 1000;
constexpr std::int64_t kKillAgainMs = 1000;
constexpr std::int64_t kBrokenJournalGraceMs = 20'000;
constexpr std::int64_t kStopUnreadableMs = 20'000;

Result<AttemptIds> ReadIds(const AttemptFolder& folder) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(folder.TaskFilePath()));
  ASSIGN_OR_RETURN(const Json json, ParseJson(text));
  AttemptIds ids;
  ASSIGN_OR_RETURN(ids.attempt, GetString(json, "attempt", "task"));
  ASSIGN_OR_RETURN(ids.task, GetString(json, "task", "task"));
  ASSIGN_OR_RETURN(ids.run_key, GetString(json, "run_key", "task"));
  ASSIGN_OR_RETURN(const std::string epoch, GetString(json, "epoch", "task"));
  const auto parsed = std::from_chars(epoch.data(), epoch.data() + epoch.size(), ids.epoch);
  if (parsed.ec != std::errc() || ids.attempt != BaseName(folder.path)) {
    return Status(Code::kDataLoss,
                  Str(folder.TaskFilePath(), " names attempt ", ids.attempt, " and epoch ", epoch,
                      ", but is in the folder of another attempt"));
  }
  return ids;
}

// kUnavailable: the file may be readable when the worker is started again.
Status NotRead(const Status& why) {
  const Code code = why.code();
  const bool may_pass = code == Code::kResourceExhausted || code == Code::kPermissionDenied ||
                        code == Code::kDeadlineExceeded || code == Code::kUnavailable;
  return Status(may_pass ? Code::kUnavailable : Code::kDataLoss, why.message());
}

// Reads at most n_bytes from `offset`; "" if the file does not exist.
std::string ReadPiece(const std::string& path, std::int64_t offset, std::int64_t n_bytes) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "";
  std::string piece(static_cast<std::size_t>(n_bytes), '\0');
  const ssize_t n = ::pread(fd, piece.data(), piece.size(), static_cast<off_t>(offset));
  ::close(fd);
  piece.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return piece;
}

std::int64_t SizeOf(const std::string& path) {
  struct stat about = {};
  return ::stat(path.c_str(), &about) == 0 ? std::int64_t{about.st_size} : 0;
}

Status SyncJournal(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, Str("cannot open ", path));
  const int code = ::fdatasync(fd);
  const int error_number = errno;
  ::close(fd);
  return code == 0 ? Status() : ErrnoStatus(error_number, Str("cannot sync ", path));
}

}  // namespace

LocalAttempt::LocalAttempt(AttemptIds ids, AttemptFolder folder)
    : ids_(std::move(ids)), folder_(std::move(folder)), reader_(folder_.Journal()) {}

Result<std::unique_ptr<LocalAttempt>> LocalAttempt::Start(const Launch& launch) {
  std::unique_ptr<LocalAttempt> attempt(new LocalAttempt(launch.ids, launch.folder));
  attempt->acked_.device_index = launch.device_index;
  // Without the attempt's name: the reason is the same for all attempts, and is shown once.
  const std::string parent = FolderOf(launch.folder.path);
  if (!PathExists(parent)) RETURN_IF_ERROR(MakeFolder(parent));  // somebody removed it
  if (access(parent.c_str(), W_OK | X_OK) != 0) {
    return NamingDenied(ErrnoStatus(errno, Str("cannot make a folder in ", parent)), parent);
  }
  RETURN_IF_ERROR(MakeFolder(launch.folder.path));
  ASSIGN_OR_RETURN(attempt->held_folder_, HeldFile::Open(launch.folder.path));
  RETURN_IF_ERROR(WriteAcked(launch.folder, attempt->acked_));
  RETURN_IF_ERROR(WriteFileAtomic(launch.folder.TaskFilePath(), launch.task_json));
  Failpoint("worker_before_shim");
  ASSIGN_OR_RETURN(attempt->child_pid_,
                   Spawn({.argv = {launch.program, "exec", launch.folder.path, launch.trainer},
                          .env = launch.env,
                          .cwd = launch.folder.path,
                          .stdout_path = launch.folder.Log(),
                          .stderr_path = launch.folder.Log(),
                          .new_session = true}));
  attempt->running_ = true;
  Failpoint("worker_after_shim");
  return attempt;
}

Result<std::unique_ptr<LocalAttempt>> LocalAttempt::Adopt(const AttemptFolder& folder) {
  if (IsAbsent(folder.TaskFilePath())) {
    return Status(Code::kNotFound,
                  Str(folder.TaskFilePath(), " does not exist: nothing was started"));
  }
  Result<AttemptIds> ids = ReadIds(folder);
  if (!ids) return NotRead(ids.status());
  std::unique_ptr<LocalAttempt> attempt(new LocalAttempt(std::move(ids).value(), folder));
  const Result<AckedRecord> acked = ReadAcked(folder);
  if (!acked) {
    Status why = NotRead(acked.status());
    if (why.code() == Code::kUnavailable) return why;
  }
  attempt->acked_ = acked ? *acked : AckedRecord{.device_index = kUnknownSlot};
  attempt->reader_.Rewind(attempt->acked_.durable_seq);
  attempt->running_ = !attempt->acked_.ended;
  if (attempt->running_) {
    ASSIGN_OR_RETURN(attempt->held_folder_, HeldFile::Open(folder.path));
  }
  attempt->log_offset_ = std::max<std::int64_t>(0, SizeOf(folder.Log()) - kLogPieceBytes);
  attempt->Poll(0);
  if (!acked) {
    LogError("attempt_record_unreadable",
             {{"attempt", attempt->ids_.attempt}, {"error", acked.status().message()}});
  }
  if (attempt->acked_.device_index == kUnknownSlot) {
    attempt->RequestStop(BootMs(), kStopUnreadableMs);
  }
  return attempt;
}

bool LocalAttempt::KillUnadopted(const AttemptFolder& folder) {
  const Result<ShimRecord> shim = ReadShim(folder);
  const Result<HeldFile> held = HeldFile::Open(folder.path);
  if (!shim || !held) return false;
  // A killed shim takes its trainer with it. A copy of a folder names the original's processes.
  return held->IsAt(Str("/proc/", shim->shim.pid, "/cwd")) &&
         SignalProcess(shim->shim, SIGKILL, /*group=*/false);
}

// Whoever holds shim.lock decides. A shim that was started but has not taken its lock yet will find
// `abandoned` and start nothing.
bool LocalAttempt::ShimIsGone(std::int64_t now_ms) {
  if (child_pid_ > 0) {
    const Result<std::optional<ExitInfo>> exit = WaitFor(child_pid_, 0);
    if (exit && !exit->has_value()) return false;
    child_pid_ = -1;
  } else if (FileLock::IsHeld(folder_.ShimLock())) {
    return false;
  }
  if (folder_is_gone_ || PathExists(folder_.Exit())) return true;
  const Result<FileLock> lock = FileLock::Acquire(folder_.ShimLock(), "the shim of this attempt");
  if (!lock) return false;
  if (PathExists(folder_.Exit())) return true;
  const Status marked = WriteFileAtomic(folder_.Abandoned(), "");
  if (!marked.ok() && not_marked_.IsDue(marked.message(), now_ms)) {
    LogError("attempt_not_marked", {{"attempt", ids_.attempt}, {"error", marked.message()}});
  }
  return marked.ok();
}

// Read again until it names the trainer, which the shim adds last.
const std::optional<ShimRecord>& LocalAttempt::Shim() {
  if (shim_ && shim_->trainer) return shim_;
  if (const Result<ShimRecord> shim = ReadShim(folder_); shim) shim_ = *shim;
  return shim_;
}

// Also if the folder was moved or removed since. A copy of a folder names the processes of the
// original, which we must not end. A process that is ending works nowhere any more.
bool LocalAttempt::IsOurs(const ProcessName& process) const {
  const std::string cwd = Str("/proc/", process.pid, "/cwd");
  return !held_folder_ || held_folder_->IsAt(cwd) ||
         IsAbsent(cwd);  // in this order: it may end now
}

// Nothing that the trainer does without its folder can be stored.
void LocalAttempt::EndWithoutFolder() {
  folder_is_gone_ = true;
  journal_broken_ = true;
  LogError("attempt_folder_gone", {{"attempt", ids_.attempt}, {"folder", folder_.path}});
  // A killed shim takes its trainer with it.
  if (shim_ && IsOurs(shim_->shim)) {
    SignalProcess(shim_->shim, SIGKILL, /*group=*/false);
  } else if (child_pid_ > 0) {
    kill(child_pid_, SIGKILL);
  }
}

void LocalAttempt::Poll(std::int64_t now_ms) {
  if (!running_) return;
  const std::optional<ShimRecord>& shim = Shim();
  if (!folder_is_gone_ && IsAbsent(folder_.path)) EndWithoutFolder();
  if (ShimIsGone(now_ms)) {
    // A killed shim takes its trainer with it; the slot is free once the trainer has ended.
    Shim();  // its last record may have come since
    if (shim && shim->trainer && IsRunning(*shim->trainer) && IsOurs(*shim->trainer)) {
      SignalProcess(*shim->trainer, SIGKILL, /*group=*/true);
      return;
    }
    running_ = false;
    held_folder_.reset();
    return;
  }
  if (!stop_requested_) return;
  if (!shim) return;  // it is not ready to take a signal yet
  if (!stop_sent_) stop_sent_ = SignalProcess(shim->shim, SIGTERM, /*group=*/false);
  if (now_ms >= kill_at_ms_ && shim->trainer) {
    SignalProcess(*shim->trainer, SIGKILL, /*group=*/true);
    kill_at_ms_ = now_ms + kKillAgainMs;
  }
}

void LocalAttempt::RequestStop(std::int64_t now_ms, std::int64_t grace_ms) {
  if (!running_) return;
  const std::int64_t kill_at_ms = now_ms + std::max<std::int64_t>(0, grace_ms);
  kill_at_ms_ = stop_requested_ ? std::min(kill_at_ms_, kill_at_ms) : kill_at_ms;
  stop_requested_ = true;
  Poll(now_ms);
}

void LocalAttempt::Kill() {
  if (!running_) return;
  if (const std::optional<ShimRecord>& shim = Shim(); shim) {
    SignalProcess(shim->shim, SIGKILL, /*group=*/false);
    if (shim->trainer) SignalProcess(*shim->trainer, SIGKILL, /*group=*/true);
  } else if (child_pid_ > 0) {
    kill(child_pid_, SIGKILL);  // it has no trainer yet
  }
}

std::optional<ExitRecord> LocalAttempt::Exit() const {
  LR_CHECK(!running_);
  const Result<ExitRecord> exit = ReadExit(folder_);
  if (exit) return *exit;
  if (exit.status().code() != Code::kNotFound) {
    LogWarning("exit_record_unreadable",
               {{"attempt", ids_.attempt}, {"error", exit.status().message()}});
  }
  return std::nullopt;
}

Result<bool> LocalAttempt::Fill(std::int64_t now_ms) {
  if (journal_broken_) return false;
  Result<std::vector<JournalReader::Line>> lines = reader_.Next(kFillRecords, kFillBytes);
  // A journal from which records were stored, and which somebody has removed since, is broken, too.
  const bool is_removed =
      lines && lines->empty() && acked_.durable_seq > 0 && IsAbsent(folder_.Journal());
  if (is_removed) lines = Status(Code::kNotFound, Str(folder_.Journal(), " was removed"));
  const Code code = lines.status().code();
  if (code == Code::kDataLoss || code == Code::kNotFound) {
    // What follows can never be sent, so there is no point in going on.
    journal_broken_ = true;
    LogError("journal_broken", {{"attempt", ids_.attempt}, {"error", lines.status().message()}});
    RequestStop(now_ms, kBrokenJournalGraceMs);
    return false;
  }
  if (!lines) return std::move(lines).status();
  if (lines->empty()) return false;
  if (Status synced = SyncJournal(folder_.Journal()); !synced.ok()) {
    const std::int64_t first_seq = lines->front().record.seq;
    reader_.Rewind(pending_.empty() ? first_seq - 1 : pending_.back().record.seq);
    return synced;
  }
  for (JournalReader::Line& line : *lines) pending_.push_back(std::move(line));
  return true;
}

void LocalAttempt::RewindTo(std::int64_t durable_seq) {
  pending_.clear();
  reader_.Rewind(durable_seq);
}

std::int64_t LocalAttempt::BacklogBytes() const {
  std::int64_t n_bytes = SizeOf(folder_.Journal()) - reader_.offset();
  for (const JournalReader::Line& line : pending_) {
    n_bytes += static_cast<std::int64_t>(line.bytes.size());
  }
  return n_bytes;
}

std::optional<LocalAttempt::LogPiece> LocalAttempt::NextLogPiece(std::int64_t now_ms) {
  if (now_ms < log_next_ms_) return std::nullopt;
  const std::int64_t size = SizeOf(folder_.Log());
  // If far behind, skip ahead: people look at the end.
  if (size - log_offset_ > 4 * kLogPieceBytes) log_offset_ = size - kLogPieceBytes;
  LogPiece piece = {.offset = log_offset_,
                    .data = ReadPiece(folder_.Log(), log_offset_, kLogPieceBytes)};
  if (piece.data.empty()) return std::nullopt;
  log_offset_ += static_cast<std::int64_t>(piece.data.size());
  log_next_ms_ = now_ms + kLogPieceMs;
  return piece;
}

std::string LocalAttempt::LogTail() const {
  const std::int64_t size = SizeOf(folder_.Log());
  return ReadPiece(folder_.Log(), std::max<std::int64_t>(0, size - kLogTailBytes), kLogTailBytes);
}

void LocalAttempt::Acknowledge(std::int64_t durable_seq) {
  if (durable_seq == acked_.durable_seq) return;
  acked_.durable_seq = durable_seq;
  acked_dirty_ = true;
}

Status LocalAttempt::MarkEnded(std::int64_t wall_ms) {
  acked_.ended = true;
  acked_.ended_wall_ms = wall_ms;
  acked_dirty_ = false;
  return WriteAcked(folder_, acked_);
}

void LocalAttempt::TakeBackEnd() {
  acked_.ended = false;
  acked_.ended_wall_ms = 0;
  acked_dirty_ = true;
}

Status LocalAttempt::FlushAcked(std::int64_t now_ms) {
  if (!acked_dirty_ || now_ms - acked_written_ms_ < kAckedEveryMs) return Status();
  acked_dirty_ = false;
  acked_written_ms_ = now_ms;
  return WriteAcked(folder_, acked_);
}

}  // namespace longrun::agent
