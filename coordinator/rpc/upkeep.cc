// See upkeep.h.
#include "coordinator/rpc/upkeep.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "base/files.h"
#include "base/str.h"
#include "coordinator/rpc/views.h"
#include "sweeps/limits.h"

namespace longrun {
namespace {

constexpr std::size_t kNoteBytesMax = 4096;
constexpr std::size_t kRunDigitsMin = 8;
constexpr std::size_t kGarbageSlice = 2000;  // checkpoints or tasks per step of the core

Status CheckText(std::string_view what, const std::string& text, std::size_t bytes_max) {
  const bool is_control = std::ranges::any_of(
      text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  if (text.size() <= bytes_max && !is_control && IsUtf8(text)) return Status();
  return Status(Code::kInvalidArgument,
                Str("the ", what, " has ", text.size(), " bytes: expected at most ", bytes_max,
                    " of text in UTF-8, without control characters"));
}

// The changes to `sweep` that the request asks for, checked.
Result<SweepAnnotation> AnnotationOf(const SweepRow& sweep,
                                     const v1::AnnotateSweepRequest& request) {
  SweepAnnotation annotation{.sweep_id = sweep.id, .labels = {}, .note = {}};
  std::map<std::string, std::string> after = sweep.labels;
  for (const v1::LabelChange& change : request.labels()) {
    if (!IsSafeName(change.key())) {
      return Status(Code::kInvalidArgument,
                    Str("\"", change.key(),
                        "\" cannot name a label: letters, digits, '.', '_' and '-' only"));
    }
    RETURN_IF_ERROR(CheckText("label " + change.key(), change.value(), kTextBytesMax));
    if (change.remove()) {
      annotation.labels[change.key()] = std::nullopt;
      after.erase(change.key());
    } else {
      annotation.labels[change.key()] = change.value();
      after[change.key()] = change.value();
    }
  }
  if (after.size() > kLabelsMax) {
    return Status(Code::kInvalidArgument,
                  Str("sweep \"", sweep.name, "\" would have ", after.size(), " labels; at most ",
                      kLabelsMax, " are kept: remove some with KEY-"));
  }
  if (request.set_note()) {
    RETURN_IF_ERROR(CheckText("note", request.note(), kNoteBytesMax));
    annotation.note = request.note();
  }
  return annotation;
}

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

// The bytes that are freed with the checkpoints in `dropped`, by checkpoint. A file that another checkpoint or
// task also has stays; one that several dropped checkpoints share is counted once.
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

Result<std::vector<std::string>> Unreferenced(ArtifactStore& artifacts, StoreReader& reader) {
  ASSIGN_OR_RETURN(const std::vector<std::string> all, artifacts.List());
  std::vector<std::string> found;
  for (const std::string& sha256 : all) {
    ASSIGN_OR_RETURN(const bool referenced, reader.IsReferenced(sha256));
    if (!referenced) found.push_back(sha256);
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

// Lets the core decide slice by slice: each is a short step and a small transaction. After a crash, the next
// call decides on the rest. `wanted` makes the event for a slice; `take` receives its result.
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

// Removes logs of attempts that are not in the database. A dry run only lists them, and also those that would
// go with the tasks in `left`. A removed task may have come back with an attempt that is writing, so the
// database is asked. A crash between the removal of a task and of its logs leaves the logs to the next call.
Status CollectLogs(Parts& parts, StoreReader& reader, const std::set<std::string>& left,
                   bool dry_run, v1::CollectGarbageResponse* response) {
  // List the logs first: an attempt is in the database before it has a log.
  ASSIGN_OR_RETURN(const std::vector<LogStore::Log> logs, parts.logs.List());
  ASSIGN_OR_RETURN(const auto tasks, reader.TasksByAttempt());
  for (const LogStore::Log& log : logs) {
    const auto task = tasks.find(log.attempt);
    const bool goes = task == tasks.end() || (dry_run && left.contains(task->second));
    if (!goes) continue;
    if (!dry_run) RETURN_IF_ERROR(parts.logs.Remove(log.attempt));
    AddItem(response, "log", log.attempt, "of an attempt of a task that no sweep has",
            {.n_bytes = log.n_bytes});
  }
  return Status();
}

Status Collect(Parts& parts, StoreReader& reader, bool dry_run,
               v1::CollectGarbageResponse* response) {
  RETURN_IF_ERROR(reader.CheckBeforeRemoval());
  // Read before anything is dropped: what is already unreferenced, and the files of each checkpoint.
  ASSIGN_OR_RETURN(const std::vector<std::string> orphans, Unreferenced(parts.artifacts, reader));
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
                               : what + ", of an attempt that a later one has overtaken",
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
  for (const std::string& sha256 : orphans) {
    const Result<ArtifactStore::Found> found = parts.artifacts.Find(sha256);
    if (!found.ok()) continue;  // removed since
    Freed bytes;
    bytes.Add(*found, parts.artifacts.NowMs());
    AddItem(response, "bytes", sha256, "nothing refers to them", bytes);
  }
  if (dry_run) return Status();
  // Removed here, not on the core's thread. What is still too young is removed when its time comes.
  ASSIGN_OR_RETURN(const std::vector<std::string> all, Unreferenced(parts.artifacts, reader));
  std::vector<std::string> later;
  for (const ArtifactStore::Young& young : parts.artifacts.RemoveUnreferenced(
           all, [&](const std::string& sha256) { return reader.IsReferenced(sha256); })) {
    later.push_back(young.sha256);
  }
  parts.core.NoteUnreferenced(later);
  return Status();
}

}  // namespace

grpc::ServerUnaryReactor* HandleAnnotate(Parts& parts, grpc::CallbackServerContext* context,
                                         const v1::AnnotateSweepRequest* request,
                                         v1::AnnotateSweepResponse* response) {
  return Handle(parts, context, "AnnotateSweep",
                [&parts, request, response](StoreReader& reader, RpcError& error) -> Status {
                  error = {.reason = "SWEEP_NOT_FOUND", .subject = request->sweep()};
                  ASSIGN_OR_RETURN(const SweepRow sweep, reader.FindSweep(request->sweep()));
                  error.reason = "LABEL_INVALID";
                  ASSIGN_OR_RETURN(const SweepAnnotation annotation, AnnotationOf(sweep, *request));
                  error.reason.clear();
                  RETURN_IF_ERROR(parts.core.Annotate(annotation));
                  error.reason = "SWEEP_NOT_FOUND";  // removed in the meantime: nothing was stored
                  ASSIGN_OR_RETURN(const SweepRow after, reader.FindSweep(sweep.id));
                  response->set_sweep_id(after.id);
                  response->set_name(after.name);
                  for (const auto& [key, value] : after.labels) {
                    v1::Label* label = response->add_labels();
                    label->set_key(key);
                    label->set_value(value);
                  }
                  response->set_note(after.note);
                  return Status();
                });
}

namespace {

// The evaluations of which a number can no longer be read, with all cells that they owe.
Result<std::vector<LostResult>> LostTasks(StoreReader& reader,
                                          const std::vector<ResultBody>& lost) {
  std::set<std::string> ids;
  for (const ResultBody& row : lost) ids.insert(row.task);
  std::vector<LostResult> tasks;
  for (const std::string& id : ids) {
    ASSIGN_OR_RETURN(std::vector<ExpectedCell> cells, reader.ExpectedCellsOf(id));
    tasks.push_back({.task = id, .cells = std::move(cells)});
  }
  return tasks;
}

}  // namespace

grpc::ServerUnaryReactor* HandleRetry(Parts& parts, grpc::CallbackServerContext* context,
                                      const v1::RetryTasksRequest* request,
                                      v1::RetryTasksResponse* response) {
  // On the submitter's thread, so that no sweep or dataset is removed in the meantime.
  return Handle(
      parts, parts.submitter, context, "RetryTasks",
      [&parts, request, response](StoreReader& reader, RpcError& error) -> Status {
        error = {.reason = "NOT_FOUND", .subject = request->target()};
        RetryWanted event;
        const Result<SweepRow> sweep = reader.FindSweep(request->target());
        if (sweep.ok()) {
          event.sweep_id = sweep->id;
          ASSIGN_OR_RETURN(event.tasks, reader.TasksOfSweep(sweep->id));
          ASSIGN_OR_RETURN(const auto results, reader.ResultsOfSweep(sweep->id));
          ASSIGN_OR_RETURN(const auto cells, reader.CellsOfSweep(sweep->id));
          ASSIGN_OR_RETURN(const auto lost, reader.LostOfSweep(sweep->id, cells, results));
          ASSIGN_OR_RETURN(event.lost, LostTasks(reader, lost));
          response->set_name(sweep->name);
        } else {
          if (sweep.status().code() != Code::kNotFound) return sweep.status();
          const Result<SweepRunRow> run = reader.FindRun(request->target());
          if (run.status().code() == Code::kNotFound) {
            return Status(Code::kNotFound, sweep.status().message() + "; nor a run");
          }
          // A target too short for a run was probably meant as a sweep.
          if (!run.ok()) {
            return request->target().size() < kRunDigitsMin ? sweep.status() : run.status();
          }
          ASSIGN_OR_RETURN(event.tasks, reader.TasksOfRun(run->run_key));
          ASSIGN_OR_RETURN(const auto results, reader.ResultsOfRun(run->run_key));
          ASSIGN_OR_RETURN(const auto lost, reader.LostOfRun(run->run_key, results));
          ASSIGN_OR_RETURN(event.lost, LostTasks(reader, lost));
          response->set_name(run->run_key);
        }
        error.reason = "SWEEP_REMOVED";
        const StepResult result = parts.core.PostAndWait(std::move(event));
        RETURN_IF_ERROR(result.status);
        error.reason.clear();
        response->set_tasks_retried(static_cast<std::int32_t>(result.submit.tasks_retried));
        return Status();
      });
}

grpc::ServerUnaryReactor* HandleRemoveSweep(Parts& parts, grpc::CallbackServerContext* context,
                                            const v1::RemoveSweepRequest* request,
                                            v1::RemoveSweepResponse* response) {
  // On the submitter's thread, so that it cannot overlap with a submission of the same sweep.
  return Handle(parts, parts.submitter, context, "RemoveSweep",
                [&parts, request, response](StoreReader& reader, RpcError& error) -> Status {
                  error = {.reason = "SWEEP_NOT_FOUND", .subject = request->sweep()};
                  ASSIGN_OR_RETURN(const SweepRow sweep, reader.FindSweep(request->sweep()));
                  error.reason = "DAMAGED";
                  RETURN_IF_ERROR(reader.CheckBeforeRemoval());
                  error.reason = "SWEEP_IN_USE";
                  const StepResult result =
                      parts.core.PostAndWait(SweepRemoved{.sweep_id = sweep.id});
                  RETURN_IF_ERROR(result.status);
                  error.reason.clear();
                  response->set_sweep_id(sweep.id);
                  response->set_name(sweep.name);
                  response->set_tasks_left(static_cast<std::int32_t>(result.tasks_left));
                  ASSIGN_OR_RETURN(const std::vector<SweepRow> sweeps, reader.Sweeps());
                  return parts.core.LookAndWait([&](const State& state) {
                    for (const SweepRow& other : sweeps) {
                      if (other.name != sweep.name || other.id == sweep.id) continue;
                      FillSweep(state, other, response->add_others());
                    }
                  });
                });
}

grpc::ServerUnaryReactor* HandleRemoveDataset(Parts& parts, grpc::CallbackServerContext* context,
                                              const v1::RemoveDatasetRequest* request,
                                              v1::RemoveDatasetResponse* response) {
  const auto body = [&parts, request, response](StoreReader& reader, RpcError& error) -> Status {
    error = {.reason = "DATASET_NOT_FOUND", .subject = request->name()};
    const std::vector<DatasetRow> datasets = parts.core.datasets();
    const auto is_it = [&](const DatasetRow& row) { return row.info.name == request->name(); };
    const auto dataset = std::ranges::find_if(datasets, is_it);
    if (dataset == datasets.end()) {
      return Status(Code::kNotFound, Str("there is no dataset \"", request->name(),
                                         "\"; `longrun data ls` lists those that are"));
    }
    error.reason = "DAMAGED";
    RETURN_IF_ERROR(reader.CheckBeforeRemoval());
    error.reason = "DATASET_IN_USE";
    ASSIGN_OR_RETURN(const std::vector<SweepRow> sweeps, reader.Sweeps());
    std::vector<std::string> users, stopping;
    RETURN_IF_ERROR(parts.core.LookAndWait([&](const State& state) {
      std::set<std::string> of_sweeps, to_come;  // to_come: not all that is left is stopping
      for (const auto& [id, task] : state.tasks) {
        if (IsTerminal(task.state)) continue;
        if (state.runs.at(task.run_key).dataset_name != request->name()) continue;
        const auto asking = state.index.task_sweeps.find(id);
        if (asking == state.index.task_sweeps.end() || asking->second.empty()) {
          users.push_back(Str("task ", id.substr(0, kRunDigitsMin), ", which no sweep has"));
        } else {
          of_sweeps.insert(asking->second.begin(), asking->second.end());
          if (!task.cancel_wanted) to_come.insert(asking->second.begin(), asking->second.end());
        }
      }
      for (const SweepRow& sweep : sweeps) {
        if (!of_sweeps.contains(sweep.id)) continue;
        if (!to_come.contains(sweep.id)) {
          stopping.push_back(Str(sweep.name, " (`longrun get ", sweep.id, "`)"));
          continue;
        }
        users.push_back(Str(sweep.name, " (`longrun cancel ", sweep.id, "`)"));
      }
    }));
    if (!users.empty()) {
      return Status(Code::kFailedPrecondition,
                    Str("dataset \"", request->name(), "\" is needed by unfinished tasks of ",
                        Join(users, ", "), ": let it end, or cancel it"));
    }
    if (!stopping.empty()) {
      return Status(Code::kFailedPrecondition,
                    Str("dataset \"", request->name(), "\" is still used by stopping trainers of ",
                        Join(stopping, ", "),
                        ": try again once they have ended; if no service is running, `longrun up` "
                        "ends them"));
    }
    error.reason.clear();
    response->set_folder(dataset->folder);
    response->set_folder_is_named(std::ranges::any_of(datasets, [&](const DatasetRow& row) {
      return !is_it(row) && row.folder == dataset->folder;
    }));
    return parts.core.RemoveDataset(request->name());
  };
  return Handle(parts, parts.submitter, context, "RemoveDataset", body);
}

grpc::ServerUnaryReactor* HandleGarbage(Parts& parts, grpc::CallbackServerContext* context,
                                        const v1::CollectGarbageRequest* request,
                                        v1::CollectGarbageResponse* response) {
  return Handle(parts, context, "CollectGarbage",
                [&parts, request, response](StoreReader& reader, RpcError&) {
                  return Collect(parts, reader, request->dry_run(), response);
                });
}

}  // namespace longrun
