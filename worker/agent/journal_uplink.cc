// See journal_uplink.h.
#include "worker/agent/journal_uplink.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/files.h"
#include "base/str.h"

namespace longrun::agent {
namespace {

constexpr std::size_t kBatchRecords = 512;
constexpr std::size_t kBatchBytes = 1u << 20;
// Each try may send a whole checkpoint, and hash it.
constexpr std::int64_t kUploadPauseMsMin = 1000;
constexpr std::int64_t kUploadPauseMsMax = 30'000;

bool NamesFiles(const JournalRecord& record) {
  return record.kind == RecordKind::kCheckpoint || record.kind == RecordKind::kArtifact;
}

// The full path of a path in a journal record, which must stay inside the attempt's folder.
Result<std::string> PathInAttempt(const AttemptFolder& folder, const std::string& path) {
  const std::filesystem::path inside =
      (std::filesystem::path(folder.path) / path).lexically_normal();
  const std::string text = inside.string();
  if (!text.starts_with(folder.path + "/")) {
    return Status(Code::kInvalidArgument,
                  Str("the path \"", path, "\" leads out of the attempt's folder ", folder.path));
  }
  return text;
}

Status OfAnotherForm(const JournalRecord& record, std::string_view what) {
  return Status(Code::kInvalidArgument, Str("the ", EnumName(record.kind), " record ", record.seq,
                                            " does not name its files: ", what));
}

// The files need not belong to a whole checkpoint: that is for the coordinator to judge.
Result<std::vector<LocalArtifact>> FilesOf(const AttemptFolder& folder,
                                           const JournalRecord& record) {
  if (const auto* const body = record.As<UnreadableBody>()) {
    return OfAnotherForm(record, body->why);
  }
  const auto* const artifact = record.As<ArtifactRecord>();
  const auto* const checkpoint = record.As<CheckpointRecord>();
  LR_CHECK(artifact != nullptr || checkpoint != nullptr);
  const std::optional<std::string>& name = artifact ? artifact->path : checkpoint->path;
  if (!name) return OfAnotherForm(record, "path: expected text");
  ASSIGN_OR_RETURN(const std::string path, PathInAttempt(folder, *name));
  std::vector<LocalArtifact> files;
  if (artifact != nullptr) {
    files.push_back({.path = path, .sha256 = artifact->sha256, .n_bytes = artifact->n_bytes});
    return files;
  }
  if (!checkpoint->files) {
    return OfAnotherForm(record,
                         "files: expected a list, each with a plain name, its SHA-256 and"
                         " its bytes");
  }
  for (const ArtifactFile& file : *checkpoint->files) {
    files.push_back(
        {.path = JoinPath(path, file.name), .sha256 = file.sha256, .n_bytes = file.n_bytes});
  }
  return files;
}

}  // namespace

bool IsReplaced(const std::string& checkpoint_folder) {
  if (checkpoint_folder.empty() || PathExists(checkpoint_folder)) return false;
  const Result<std::vector<std::string>> names = ListFolder(FolderOf(checkpoint_folder));
  if (!names.ok()) return false;
  // step-00000010 comes after step-00000005.
  const auto order = [](std::string_view name) { return std::pair(name.size(), name); };
  const std::string replaced(BaseName(checkpoint_folder));
  return std::ranges::any_of(
      *names, [&](const std::string& name) { return order(name) > order(replaced); });
}

bool JournalUplink::WaitsForFiles(const JournalRecord& record) const {
  return NamesFiles(record) && !fenced_ && !uploaded_.contains(record.seq);
}

JournalUplink::Next JournalUplink::Look(std::int64_t now_ms) {
  // Asked before reading: if the trainer had already ended, an empty read means the journal's end.
  const Next at_end = attempt_.running() || end_sent_ ? Next::kNothing : Next::kEnd;
  if (unwanted_) {
    in_flight_.clear();
    return at_end;
  }
  if (fenced_ && !in_flight_.empty()) return Next::kNothing;
  const std::deque<JournalReader::Line>& pending = attempt_.pending();
  if (pending.empty()) {
    const Result<bool> filled = attempt_.Fill(now_ms);
    if (!filled && not_read_.IsDue(filled.status().message(), now_ms)) {
      LogWarning("journal_not_read",
                 {{"attempt", attempt_.ids().attempt}, {"error", filled.status().message()}});
    }
    if (!filled) return Next::kNothing;
    if (pending.empty()) return at_end;
  }
  if (!WaitsForFiles(pending.front().record)) return Next::kBatch;
  return uploading_ || now_ms < upload_again_ms_ ? Next::kNothing : Next::kUpload;
}

JournalUplink::Upload JournalUplink::TakeUpload() {
  uploading_ = true;
  const JournalRecord& record = attempt_.pending().front().record;
  Upload upload = {.seq = record.seq, .files = FilesOf(attempt_.folder(), record)};
  const auto* const checkpoint = record.As<CheckpointRecord>();
  const bool is_replaceable = checkpoint != nullptr && !checkpoint->is_final;
  if (is_replaceable && upload.files.ok() && !upload.files->empty()) {
    upload.replaceable = FolderOf(upload.files->front().path);
  }
  return upload;
}

std::int64_t JournalUplink::RetryUpload(std::int64_t now_ms) {
  uploading_ = false;
  upload_pause_ms_ = std::clamp(2 * upload_pause_ms_, kUploadPauseMsMin, kUploadPauseMsMax);
  upload_again_ms_ = now_ms + upload_pause_ms_;
  return upload_again_ms_;
}

void JournalUplink::NoteUploaded(std::int64_t seq, const Status& status) {
  uploading_ = false;
  upload_pause_ms_ = 0;
  uploaded_[seq] = status.ok();
  files_damaged_ |= !status.ok() && status.code() != Code::kNotFound;
}

std::pair<std::size_t, std::size_t> JournalUplink::NextBatch() const {
  std::size_t n_lines = 0, n_bytes = 0;
  for (const JournalReader::Line& line : attempt_.pending()) {
    const bool fits = n_lines < kBatchRecords && n_bytes + line.bytes.size() <= kBatchBytes;
    if (n_lines > 0 && (!fits || WaitsForFiles(line.record))) break;
    n_lines += 1;
    n_bytes += line.bytes.size();
  }
  return {n_lines, n_bytes};
}

std::size_t JournalUplink::batch_bytes() const { return NextBatch().second; }

JournalUplink::Batch JournalUplink::TakeBatch() {
  std::deque<JournalReader::Line>& pending = attempt_.pending();
  const auto [n_lines, n_bytes] = NextBatch();
  Batch batch = {.message = {.attempt = attempt_.ids().attempt,
                             .epoch = attempt_.ids().epoch,
                             .first_seq = pending.front().record.seq,
                             .lines = {}},
                 .records = {}};
  for (std::size_t i = 0; i < n_lines; ++i) {
    JournalReader::Line& line = pending.front();
    const auto uploaded = uploaded_.find(line.record.seq);
    if (uploaded != uploaded_.end() && !uploaded->second) {
      batch.message.without_files.push_back(line.record.seq);
    }
    batch.message.lines.push_back(std::move(line.bytes));
    batch.records.push_back(std::move(line.record));
    pending.pop_front();
  }
  in_flight_.emplace_back(batch.records.back().seq, n_bytes);
  return batch;
}

std::size_t JournalUplink::in_flight_bytes() const {
  std::size_t n_bytes = 0;
  for (const auto& [seq, batch_bytes] : in_flight_) n_bytes += batch_bytes;
  return n_bytes;
}

AttemptEndedMessage JournalUplink::TakeEnd() {
  end_sent_ = true;
  const std::optional<ExitRecord> exit = attempt_.Exit();
  AttemptEndedMessage ended = {.attempt = attempt_.ids().attempt,
                               .epoch = attempt_.ids().epoch,
                               .exit_known = exit.has_value(),
                               .stop_requested = attempt_.stop_requested(),
                               .last_seq = attempt_.last_seq(),
                               .log_tail = attempt_.LogTail()};
  if (exit) {
    ended.exit_code = exit->code;
    ended.signal = exit->signal;
    ended.oom_kill = exit->oom_kill;
    ended.stop_requested |= exit->stop_requested;
  }
  return ended;
}

void JournalUplink::Resume(std::int64_t durable_seq, bool fenced) {
  fenced_ = fenced;
  unwanted_ = false;
  Rewind(durable_seq);
}

void JournalUplink::Rewind(std::int64_t durable_seq) {
  in_flight_.clear();
  end_sent_ = false;
  // Ask again whether the store has their files: that may be why the record is requested again.
  uploaded_.clear();
  upload_again_ms_ = upload_pause_ms_ = 0;
  attempt_.RewindTo(durable_seq);
  attempt_.Acknowledge(durable_seq);
}

void JournalUplink::Acknowledge(std::int64_t durable_seq) {
  while (!in_flight_.empty() && in_flight_.front().first <= durable_seq) in_flight_.pop_front();
  if (durable_seq > attempt_.acked().durable_seq) attempt_.Acknowledge(durable_seq);
}

void JournalUplink::Fence(bool journal_wanted) {
  fenced_ = true;
  unwanted_ |= !journal_wanted;
}

}  // namespace longrun::agent
