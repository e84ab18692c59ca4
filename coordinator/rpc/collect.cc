// See collect.h.
#include "coordinator/rpc/collect.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "base/files.h"
#include "base/str.h"
#include "coordinator/rpc/kept_files.h"

namespace longrun::coordinator {
namespace {

constexpr std::size_t kGarbageSlice = 2000;  // checkpoints or tasks per step of the core

// How many bytes the removal of something frees, and when.
struct Freed {
  std::int64_t n_bytes = 0;
  std::int64_t n_bytes_later = 0;  // the part of n_bytes that is still too young
  std::int64_t later_ms = 0;       // until the last of that part may be removed

  void Add(const ArtifactStore::Found& found, std::int64_t now_ms) {
    n_bytes += found.n_bytes;
    if (found.may_go_at_ms <= now_ms) return;
    n_bytes_later += found.n_bytes;
    later_ms = std::max(later_ms, found.may_go_at_ms - now_ms);
  }
};

// The bytes that are freed with the checkpoints in `dropped`, by checkpoint. A file that another
// checkpoint or task also has stays; one that several dropped checkpoints share is counted once.
std::map<std::string, Freed> FreedBy(const ArtifactStore& artifacts,
                                     const std::vector<CheckpointBytesRow>& rows,
                                     const std::map<std::string, std::int64_t>& dropped) {
  std::set<std::string> kept;
  for (const CheckpointBytesRow& row : rows) {
    const auto n_dropped = dropped.find(row.checkpoint);
    if (n_dropped == dropped.end() || row.n_tasks > n_dropped->second) kept.insert(row.sha256);
  }
  std::map<std::string, Freed> freed;
  for (const CheckpointBytesRow& row : rows) {
    if (!dropped.contains(row.checkpoint) || !kept.insert(row.sha256).second) continue;
    const auto found = artifacts.Find(row.sha256);
    if (found.ok()) freed[row.checkpoint].Add(*found, artifacts.NowMs());
  }
  return freed;
}

Result<std::vector<std::string>> Unreferenced(const CoordinatorParts& parts, StoreReader& reader) {
  ASSIGN_OR_RETURN(const std::vector<std::string> all, parts.artifacts.List());
  std::vector<std::string> found;
  for (const std::string& sha256 : all) {
    ASSIGN_OR_RETURN(const bool referenced, reader.IsReferenced(sha256));
    if (!referenced && !parts.core.IsNeededInSharedStore(sha256)) found.push_back(sha256);
  }
  return found;
}

void AddItem(v1::CollectGarbageResponse* response, std::string_view kind, const std::string& name,
             const std::string& reason, const Freed& freed) {
  v1::GarbageItem* item = response->add_items();
  item->set_kind(std::string(kind));
  item->set_name(name);
  // Rounded up: after this time it is certainly gone.
  const std::int64_t seconds = (freed.later_ms + 999) / 1000;
  item->set_reason(seconds == 0 ? reason
                                : Str(reason, "; requested recently: removed in ", seconds / 60,
                                      " min ", seconds % 60, " s"));
  item->set_bytes(freed.n_bytes);
  item->set_later_ms(freed.later_ms);
  response->set_bytes(response->bytes() + freed.n_bytes);
  response->set_bytes_later(response->bytes_later() + freed.n_bytes_later);
  response->set_later_ms(std::max(response->later_ms(), freed.later_ms));
}

// Lets the core decide slice by slice: each is a short step and a small transaction. After a crash,
// the next call decides on the rest. `wanted` makes the event for a slice;
// `take` receives its result.
template <typename T, typename Wanted, typename Take>
Status DecideInSlices(Core& core, const std::vector<T>& all, const Wanted& wanted,
                      const Take& take) {
  for (std::size_t begin = 0; begin < all.size(); begin += kGarbageSlice) {
    const auto first = all.begin() + static_cast<std::ptrdiff_t>(begin);
    const std::size_t n = std::min(kGarbageSlice, all.size() - begin);
    StepResult result =
        core.PostAndWait(wanted(std::vector<T>(first, first + static_cast<std::ptrdiff_t>(n))));
    RETURN_IF_ERROR(result.status);
    take(result);
  }
  return Status();
}

Result<std::vector<GarbageCheckpoint>> Decide(Core& core, const std::vector<StoredCheckpoint>& all,
                                              bool dry_run) {
  std::vector<GarbageCheckpoint> garbage;
  RETURN_IF_ERROR(DecideInSlices(
      core, all,
      [&](std::vector<StoredCheckpoint> slice) {
        return GarbageWanted{.dry_run = dry_run, .candidates = std::move(slice), .orphans = {}};
      },
      [&](StepResult& result) {
        garbage.insert(garbage.end(), std::make_move_iterator(result.garbage.begin()),
                       std::make_move_iterator(result.garbage.end()));
      }));
  return garbage;
}

// The tasks that no sweep has.
Result<std::set<std::string>> DecideOrphans(Core& core, StoreReader& reader, bool dry_run) {
  ASSIGN_OR_RETURN(const std::vector<std::string> all, reader.OrphanTasks());
  std::set<std::string> garbage;
  RETURN_IF_ERROR(DecideInSlices(
      core, all,
      [&](std::vector<std::string> slice) {
        GarbageWanted event{.dry_run = dry_run, .candidates = {}, .orphans = std::move(slice)};
        if (dry_run) event.gone = garbage;
        return event;
      },
      [&](const StepResult& result) {
        garbage.insert(result.garbage_tasks.begin(), result.garbage_tasks.end());
      }));
  return garbage;
}

// Removes logs of attempts that are not in the database. A dry run only lists them, and also those
// that would go with the tasks in `left`. A removed task may have come back with an attempt that is
// writing, so the database is asked. A crash between the removal of a task and of its logs leaves
// the logs to the next call.
Status CollectLogs(CoordinatorParts& parts, StoreReader& reader, const std::set<std::string>& left,
                   bool dry_run, v1::CollectGarbageResponse* response) {
  // List the logs first: an attempt is in the database before it has a log.
  ASSIGN_OR_RETURN(const std::vector<LogStore::Log> logs, parts.logs.List());
  ASSIGN_OR_RETURN(const auto tasks, reader.TasksByAttempt());
  for (const LogStore::Log& log : logs) {
    const auto task = tasks.find(log.attempt);
    const bool goes = task == tasks.end() || (dry_run && left.contains(task->second));
    if (!goes) continue;
    if (!dry_run) RETURN_IF_ERROR(parts.logs.Remove(log.attempt));
    AddItem(response, "log", log.attempt, "its attempt belongs to a task that no sweep has",
            {.n_bytes = log.n_bytes});
  }
  return Status();
}

// The tasks in `left` are gone, or would be.
Status CollectKeptFiles(CoordinatorParts& parts, StoreReader& reader,
                        const std::set<std::string>& left, bool dry_run,
                        v1::CollectGarbageResponse* response) {
  ASSIGN_OR_RETURN(const std::vector<UnneededFile> files, UnneededFiles(parts, reader, left));
  for (const UnneededFile& file : files) {
    if (!dry_run) RETURN_IF_ERROR(RemoveAll(file.path));
    AddItem(response, "file", file.sha256, "no task reads it", {.n_bytes = file.n_bytes});
  }
  return Status();
}

Status Collect(CoordinatorParts& parts, StoreReader& reader, bool dry_run,
               v1::CollectGarbageResponse* response) {
  RETURN_IF_ERROR(reader.CheckBeforeRemoval());
  // Read before anything is dropped: what is already unreferenced,
  // and the files of each checkpoint.
  ASSIGN_OR_RETURN(const std::vector<std::string> orphans, Unreferenced(parts, reader));
  ASSIGN_OR_RETURN(const std::vector<CheckpointBytesRow> rows, reader.CheckpointBytes());
  ASSIGN_OR_RETURN(std::vector<StoredCheckpoint> stored, reader.Checkpoints());
  ASSIGN_OR_RETURN(const std::set<std::string> left, DecideOrphans(parts.core, reader, dry_run));
  const auto stays = std::stable_partition(
      stored.begin(), stored.end(), [&](const auto& one) { return left.contains(one.task); });
  const std::vector<StoredCheckpoint> of_left(stored.begin(), stays);
  stored.erase(stored.begin(), stays);
  ASSIGN_OR_RETURN(const std::vector<GarbageCheckpoint> garbage,
                   Decide(parts.core, stored, dry_run));
  std::map<std::string, std::int64_t> dropped;  // by how many tasks each is dropped
  for (const GarbageCheckpoint& one : garbage) dropped[one.checkpoint.sha256] += 1;
  std::map<std::string, std::vector<std::string>> checkpoints_of;  // of tasks that no sweep has
  for (const StoredCheckpoint& one : of_left) {
    dropped[one.sha256] += 1;
    checkpoints_of[one.task].push_back(one.sha256);
  }
  std::map<std::string, Freed> freed = FreedBy(parts.artifacts, rows, dropped);
  for (const GarbageCheckpoint& one : garbage) {
    const StoredCheckpoint& checkpoint = one.checkpoint;
    const std::string what =
        Str("step ", checkpoint.step, " of task ", checkpoint.task.substr(0, 8));
    AddItem(response, "checkpoint", checkpoint.sha256,
            one.task_succeeded ? what + ", which has succeeded: its final and best checkpoints stay"
                               : what + ", of an attempt that a later one has replaced",
            std::exchange(freed[checkpoint.sha256], {}));
  }
  for (const std::string& task : left) {
    Freed all;
    for (const std::string& sha256 : checkpoints_of[task]) {
      const Freed one = std::exchange(freed[sha256], {});
      all.n_bytes += one.n_bytes;
      all.n_bytes_later += one.n_bytes_later;
      all.later_ms = std::max(all.later_ms, one.later_ms);
    }
    AddItem(response, "task", task, "no sweep has it; its results are removed too", all);
  }
  RETURN_IF_ERROR(CollectLogs(parts, reader, left, dry_run, response));
  RETURN_IF_ERROR(CollectKeptFiles(parts, reader, left, dry_run, response));
  for (const std::string& sha256 : orphans) {
    const Result<ArtifactStore::Found> found = parts.artifacts.Find(sha256);
    if (!found.ok()) continue;  // removed since
    Freed bytes;
    bytes.Add(*found, parts.artifacts.NowMs());
    AddItem(response, "bytes", sha256, "nothing refers to them", bytes);
  }
  if (dry_run) return Status();
  // Removed here, not on the core's thread. What is still too young is removed when its time comes.
  ASSIGN_OR_RETURN(const std::vector<std::string> all, Unreferenced(parts, reader));
  std::vector<std::string> later;
  for (const ArtifactStore::Young& young :
       parts.artifacts.RemoveUnreferenced(all, [&](const std::string& sha256) -> Result<bool> {
         if (parts.core.IsNeededInSharedStore(sha256)) return true;
         return reader.IsReferenced(sha256);
       })) {
    later.push_back(young.sha256);
  }
  parts.core.NoteUnreferenced(later);
  return Status();
}

}  // namespace

Status CollectGarbage(Call& call, const v1::CollectGarbageRequest& request,
                      v1::CollectGarbageResponse* response) {
  call.changes = !request.dry_run();
  return Collect(call.parts, call.reader, request.dry_run(), response);
}

}  // namespace longrun::coordinator
