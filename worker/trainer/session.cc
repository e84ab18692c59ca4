#include "worker/trainer/session.h"

#include <optional>
#include <utility>

#include "base/clock.h"
#include "base/files.h"
#include "base/str.h"
#include "worker/trainer/full_disk.h"

namespace longrun::trainer {
namespace {

constexpr std::int64_t kProgressEveryMs = 1000;
constexpr std::int64_t kJournalRoom = std::int64_t{1} << 16;

}  // namespace

Result<Session> Session::Begin(TaskFile task, RecordWatcher watcher) {
  ASSIGN_OR_RETURN(JournalWriter journal,
                   JournalWriter::Create(JoinPath(task.attempt_dir, kJournalName)));
  journal.SetWaitForRoom([folder = task.attempt_dir, wait = std::optional<RoomWait>()](
                             const Status& full, bool is_first) mutable {
    if (is_first) wait.emplace(folder, kJournalRoom);
    return wait->Next(full);
  });
  const Json body = {{"format", 1},
                     {"attempt", task.attempt},
                     {"task", task.task},
                     {"run_key", task.run_key},
                     {"epoch", Str(task.epoch)},
                     {"kind", EnumName(task.kind)},
                     {"resume", task.resume ? task.resume->ToJson() : Json()}};
  RETURN_IF_ERROR(journal.Append(RecordKind::kAttempt, body));
  return Session(std::move(task), std::move(journal), std::move(watcher));
}

Status Session::Progress(const Work& work) {
  const std::int64_t now_ms = BootMs();
  const bool new_phase = phase_ != work.phase;
  if (new_phase) {
    phase_ = work.phase;
    phase_begin_ms_ = now_ms;
    phase_begin_done_ = work.done;
  } else if (now_ms - reported_ms_ < kProgressEveryMs) {
    return Status();
  }
  reported_ms_ = now_ms;
  std::optional<std::int64_t> eta_ms;
  const std::int64_t done_here = work.done - phase_begin_done_;
  // A phase that returns, like training after each validation, starts with its previous pace.
  if (done_here > 0) {
    pace_ms_[phase_] =
        static_cast<double>(now_ms - phase_begin_ms_) / static_cast<double>(done_here);
  }
  if (work.left_ms) {
    eta_ms = static_cast<std::int64_t>(*work.left_ms);
  } else if (const auto pace = pace_ms_.find(phase_); pace != pace_ms_.end()) {
    eta_ms = static_cast<std::int64_t>(pace->second * static_cast<double>(work.of - work.done));
  }
  return journal_.Append(ProgressRecord{.phase = phase_,
                                        .done = work.done,
                                        .of = work.of,
                                        .tokens_per_s = work.tokens_per_s,
                                        .eta_ms = eta_ms},
                         work.step);
}

}  // namespace longrun::trainer
