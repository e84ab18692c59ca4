// See sweeps.h.
#include "coordinator/rpc/sweeps.h"

#include <map>
#include <optional>
#include <set>
#include <span>
#include <utility>

#include "base/files.h"
#include "base/str.h"
#include "base/utf8.h"
#include "coordinator/one_line.h"
#include "coordinator/rpc/look_at_tasks.h"
#include "coordinator/rpc/lost_checkpoints.h"
#include "coordinator/rpc/views.h"
#include "sweeps/evaluated_dataset.h"
#include "sweeps/limits.h"

namespace longrun::coordinator {
namespace {

constexpr std::size_t kNoteBytesMax = 4096;
constexpr std::size_t kRunDigitsMin = 8;

// The changes to `sweep` that the request asks for, checked.
Result<SweepAnnotation> AnnotationOf(const SweepRow& sweep,
                                     const v1::AnnotateSweepRequest& request) {
  SweepAnnotation annotation{.sweep_id = sweep.id, .labels = {}, .note = {}};
  std::map<std::string, std::string> after = sweep.labels;
  for (const v1::LabelChange& change : request.labels()) {
    if (!IsSafeName(change.key())) {
      return Status(Code::kInvalidArgument,
                    Str(Quoted(change.key()),
                        " cannot name a label: use only letters, digits, '.', '_' and '-'"));
    }
    RETURN_IF_ERROR(CheckOneLine("the label " + change.key(), change.value(), kTextBytesMax));
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
                      kLabelsMax, " are allowed: remove some with KEY-"));
  }
  if (request.set_note()) {
    RETURN_IF_ERROR(CheckOneLine("the note", request.note(), kNoteBytesMax));
    annotation.note = request.note();
  }
  return annotation;
}

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

// The scheduler knows only the sweep's id: calls the sweep as the user did.
Status AsTyped(const Status& status, const SweepRow& sweep, const std::string& typed) {
  return Status(status.code(), WithOtherName(status.message(), sweep.id, typed));
}

// What to retry: the sweep or the run that `target` names. Sets `name` to its own name.
Result<RetryRequested> RetryOf(Call& call, const std::string& target, std::string* name) {
  StoreReader& reader = call.reader;
  RetryRequested event;
  const Result<SweepRow> sweep = reader.FindSweep(target);
  if (sweep.ok()) {
    event.sweep_id = sweep->id;
    ASSIGN_OR_RETURN(event.tasks, reader.TasksOfSweep(sweep->id));
    ASSIGN_OR_RETURN(const auto results, reader.ResultsOfSweep(sweep->id));
    ASSIGN_OR_RETURN(const auto cells, reader.CellsOfSweep(sweep->id));
    ASSIGN_OR_RETURN(const auto lost, reader.LostOfSweep(sweep->id, cells, results));
    ASSIGN_OR_RETURN(event.lost, LostTasks(reader, lost));
    *name = sweep->name;
  } else {
    if (sweep.status().code() != Code::kNotFound) return sweep.status();
    const Result<SweepRunRow> run = reader.FindRun(target);
    if (run.status().code() == Code::kNotFound) {
      return Status(Code::kNotFound, sweep.status().message() + "; and there is no such run");
    }
    // A target too short for a run was probably meant as a sweep.
    if (!run.ok()) {
      return target.size() < kRunDigitsMin ? sweep.status() : run.status();
    }
    ASSIGN_OR_RETURN(event.tasks, reader.TasksOfRun(run->run_key));
    ASSIGN_OR_RETURN(const auto results, reader.ResultsOfRun(run->run_key));
    ASSIGN_OR_RETURN(const auto lost, reader.LostOfRun(run->run_key, results));
    ASSIGN_OR_RETURN(event.lost, LostTasks(reader, lost));
    *name = run->run_key;
  }
  // Of a whole sweep, only what is needed is read.
  ASSIGN_OR_RETURN(event.lost_checkpoints,
                   FindLostCheckpoints(call, event, /*reads_all=*/event.sweep_id.empty()));
  return event;
}

// kFailedPrecondition if one of the tasks that would be tried again, which it returns otherwise,
// reads a dataset that is not registered any more: it would fail again.
Result<std::set<std::string>> CheckDatasets(Core& core, const RetryRequested& event) {
  std::set<std::string> there;
  for (const DatasetRow& row : core.datasets()) there.insert(row.info.digest);
  std::string missing;
  std::set<std::string> tasks;
  const auto look = [&](const State& state, const RetryRequested& some) {
    for (const std::string& id : TasksToRetry(state, some)) {
      const Task& task = state.tasks.at(id);
      const RunRecord& run = state.runs.at(task.run_key);
      tasks.insert(id);
      if (!run.unknown.empty()) continue;
      const auto read = EvaluatedDatasetOf(task.evaluation);
      if (read && !there.contains(read->digest)) missing = read->name;
      if (!there.contains(run.run.dataset_digest)) missing = run.dataset_name;
      if (!missing.empty()) return;
    }
  };
  RetryRequested some = {.sweep_id = event.sweep_id,
                         .tasks = {},
                         .lost = event.lost,
                         .lost_checkpoints = event.lost_checkpoints};
  RETURN_IF_ERROR(LookAtTasks(core, event.tasks,
                              [&](const State& state, std::span<const std::string> some_tasks) {
                                some.tasks.assign(some_tasks.begin(), some_tasks.end());
                                look(state, some);
                                return missing.empty();
                              }));
  if (missing.empty()) return tasks;
  return Status(Code::kFailedPrecondition,
                Str("dataset \"", missing,
                    "\" is not registered any more, so tasks that read it would fail again: "
                    "first `longrun data import ",
                    missing, "` with the same texts, or `longrun data register ", missing, "`"));
}

}  // namespace

Status CancelSweep(Call& call, const v1::CancelSweepRequest& request,
                   v1::CancelSweepResponse* response) {
  call.error.subject = request.sweep();
  ASSIGN_OR_RETURN(const SweepRow sweep,
                   call.WithReason("SWEEP_NOT_FOUND", call.reader.FindSweep(request.sweep())));
  const StepResult result = call.parts.core.Order(
      sweep.id, SweepCancelled{.sweep_id = sweep.id,
                               .mode = request.now() ? StopMode::kNow : StopMode::kCheckpoint,
                               .n_tasks_max = Core::kTasksOfStep});
  RETURN_IF_ERROR(AsTyped(result.status, sweep, request.sweep()));
  response->set_tasks_cancelled(static_cast<std::int32_t>(result.cancel.cancelled));
  // Those that only paused sweeps still want stop, too.
  response->set_tasks_stopping(
      static_cast<std::int32_t>(result.cancel.stopping + result.pause.stopping));
  response->set_sweep_id(sweep.id);
  return FillActive(call.parts.core, call.reader, sweep.name, sweep.id, response->mutable_others());
}

Status PauseSweep(Call& call, const v1::PauseSweepRequest& request,
                  v1::PauseSweepResponse* response) {
  call.error.subject = request.sweep();
  ASSIGN_OR_RETURN(const SweepRow sweep,
                   call.WithReason("SWEEP_NOT_FOUND", call.reader.FindSweep(request.sweep())));
  const StepResult result = call.parts.core.Order(
      sweep.id, SweepPaused{.sweep_id = sweep.id, .n_tasks_max = Core::kTasksOfStep});
  RETURN_IF_ERROR(call.WithReason("SWEEP_ENDED", AsTyped(result.status, sweep, request.sweep())));
  response->set_sweep_id(sweep.id);
  response->set_name(sweep.name);
  response->set_tasks_waiting(static_cast<std::int32_t>(result.pause.held));
  response->set_tasks_stopping(static_cast<std::int32_t>(result.pause.stopping));
  response->set_was_paused(result.pause.was_paused);
  return Status();
}

Status ResumeSweep(Call& call, const v1::ResumeSweepRequest& request,
                   v1::ResumeSweepResponse* response) {
  call.error.subject = request.sweep();
  ASSIGN_OR_RETURN(const SweepRow sweep,
                   call.WithReason("SWEEP_NOT_FOUND", call.reader.FindSweep(request.sweep())));
  RETURN_IF_ERROR(call.parts.core.LookAndWait([&](const State& state) {
    response->set_was_paused(state.paused_sweeps.contains(sweep.id));
  }));
  const StepResult result = call.parts.core.Order(
      sweep.id, SweepResumed{.sweep_id = sweep.id, .n_tasks_max = Core::kTasksOfStep});
  RETURN_IF_ERROR(call.WithReason("SWEEP_ENDED", AsTyped(result.status, sweep, request.sweep())));
  response->set_sweep_id(sweep.id);
  response->set_name(sweep.name);
  return Status();
}

Status RemoveSweep(Call& call, const v1::RemoveSweepRequest& request,
                   v1::RemoveSweepResponse* response) {
  call.error.subject = request.sweep();
  ASSIGN_OR_RETURN(const SweepRow sweep,
                   call.WithReason("SWEEP_NOT_FOUND", call.reader.FindSweep(request.sweep())));
  RETURN_IF_ERROR(call.WithReason("DAMAGED", call.reader.CheckBeforeRemoval()));
  const StepResult result = call.parts.core.PostAndWait(SweepRemoved{.sweep_id = sweep.id});
  RETURN_IF_ERROR(call.WithReason("SWEEP_IN_USE", AsTyped(result.status, sweep, request.sweep())));
  response->set_sweep_id(sweep.id);
  response->set_name(sweep.name);
  response->set_tasks_left(static_cast<std::int32_t>(result.tasks_left));
  ASSIGN_OR_RETURN(std::vector<SweepRow> others, call.reader.Sweeps());
  std::erase_if(others, [&](const SweepRow& other) {
    return other.name != sweep.name || other.id == sweep.id;
  });
  RETURN_IF_ERROR(call.reader.AddLabels(others));
  return call.parts.core.LookAndWait([&](const State& state) {
    for (const SweepRow& other : others) FillSweep(state, other, response->add_others());
  });
}

Status AnnotateSweep(Call& call, const v1::AnnotateSweepRequest& request,
                     v1::AnnotateSweepResponse* response) {
  call.error.subject = request.sweep();
  ASSIGN_OR_RETURN(const SweepRow sweep,
                   call.WithReason("SWEEP_NOT_FOUND", call.reader.FindSweep(request.sweep())));
  ASSIGN_OR_RETURN(const SweepAnnotation annotation,
                   call.WithReason("LABEL_INVALID", AnnotationOf(sweep, request)));
  RETURN_IF_ERROR(call.parts.core.Annotate(annotation));
  // If it was removed in the meantime, nothing was stored.
  ASSIGN_OR_RETURN(const SweepRow after,
                   call.WithReason("SWEEP_NOT_FOUND", call.reader.FindSweep(sweep.id)));
  response->set_sweep_id(after.id);
  response->set_name(after.name);
  for (const auto& [key, value] : after.labels) {
    v1::Label* label = response->add_labels();
    label->set_key(key);
    label->set_value(value);
  }
  response->set_note(after.note);
  return Status();
}

Status RetryTasks(Call& call, const v1::RetryTasksRequest& request,
                  v1::RetryTasksResponse* response) {
  call.error.subject = request.target();
  ASSIGN_OR_RETURN(
      RetryRequested event,
      call.WithReason("NOT_FOUND", RetryOf(call, request.target(), response->mutable_name())));
  ASSIGN_OR_RETURN(const std::set<std::string> tasks,
                   call.WithReason("DATASET_REMOVED", CheckDatasets(call.parts.core, event)));
  const std::vector<LostCheckpoints> lost = event.lost_checkpoints;
  const std::string sweep_id = event.sweep_id;
  event.n_tasks_max = Core::kTasksOfStep;
  const StepResult result = call.parts.core.Order(sweep_id, std::move(event));
  RETURN_IF_ERROR(call.WithReason("NO_SWEEP", result.status));
  RemoveDamaged(call, lost, tasks);
  response->set_tasks_retried(static_cast<std::int32_t>(result.submit.tasks_retried));
  return Status();
}

}  // namespace longrun::coordinator
