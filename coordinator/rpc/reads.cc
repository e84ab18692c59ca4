// See reads.h.
#include "coordinator/rpc/reads.h"

#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "coordinator/rpc/parents.h"
#include "coordinator/rpc/pilots.h"
#include "coordinator/rpc/planned.h"
#include "coordinator/rpc/views.h"
#include "coordinator/store/damage.h"

namespace longrun::coordinator {
namespace {

// What a table shows for a number that a task owes. "diverged" is an answer about the run; any
// other failure is about the machine and may be retried, as may a cancelled task.
std::string_view StatusOfPendingCell(const State& state, const Task& task) {
  const Task* failed = &task;
  if (task.state == TaskState::kSkipped) {
    const auto needed = state.tasks.find(task.needs);
    if (needed != state.tasks.end()) failed = &needed->second;
  }
  if (failed->state == TaskState::kCancelled) return "cancelled";
  if (failed->state != TaskState::kFailed) return "missing";
  return FailedForGood(state, task) ? "diverged" : "failed";
}

// The rows that unfinished tasks owe to a sweep: what a table is still waiting for.
std::vector<v1::ResultRow> MissingRows(const State& state, const std::string& sweep_id,
                                       const StoreReader::CellSet& cells) {
  std::vector<v1::ResultRow> rows;
  const auto tasks = state.sweep_tasks.find(sweep_id);
  if (tasks == state.sweep_tasks.end()) return rows;
  for (const std::string& id : tasks->second) {
    const Task& task = state.tasks.at(id);
    if (task.kind != TaskKind::kEvaluate || task.state == TaskState::kSucceeded) continue;
    if (!task.evaluation.is_object() || task.evaluation.empty()) continue;  // unreadable
    const Json& params = task.evaluation.begin().value();
    for (const ExpectedCell& cell : task.expected_cells) {
      if (!cells.contains(cell.cell)) continue;
      v1::ResultRow& row = rows.emplace_back();
      row.set_run_key(task.run_key);
      row.set_cell(cell.cell);
      row.set_body_json(OwedBody(cell, params, StatusOfPendingCell(state, task)));
      row.set_task(id);
      row.set_evaluation_json(CanonicalJson(task.evaluation));
    }
  }
  return rows;
}

void FillRun(const SweepRunRow& row, v1::RunInfo* run) {
  run->set_run_key(row.run_key);
  run->set_axes_json(row.axes_json);
  run->set_dataset(row.dataset);
  run->set_execution_json(row.execution_json);
}

Status FillLengths(StoreReader& reader, v1::TaskInfo* task) {
  if (task->kind() != EnumName(TaskKind::kEvaluate)) return Status();
  ASSIGN_OR_RETURN(const std::vector<std::int64_t> lengths, reader.LengthsOfTask(task->task()));
  for (const std::int64_t length : lengths) task->add_context_lengths(length);
  return Status();
}

void FillResult(ResultBody result, v1::ResultRow* row) {
  row->set_run_key(std::move(result.run_key));
  row->set_cell(std::move(result.cell));
  row->set_body_json(std::move(result.body_json));
  row->set_task(std::move(result.task));
  row->set_attempt(std::move(result.attempt));
  row->set_evaluation_json(std::move(result.evaluation_json));
}

Status ResultsOfRun(Call& call, const std::string& beginning, v1::GetResultsResponse* response) {
  call.error.subject = beginning;
  ASSIGN_OR_RETURN(const SweepRunRow row,
                   call.WithReason("RUN_NOT_FOUND", call.reader.FindRun(beginning)));
  v1::RunInfo* run = response->add_runs();
  FillRun(row, run);
  run->set_run_json(row.run_json);
  ASSIGN_OR_RETURN(std::vector<ResultBody> results, call.reader.ResultsOfRun(row.run_key));
  ASSIGN_OR_RETURN(std::vector<ResultBody> lost, call.reader.LostOfRun(row.run_key, results));
  RETURN_IF_ERROR(FillLost(std::move(lost), results));
  for (ResultBody& result : results) FillResult(std::move(result), response->add_rows());
  return Status();
}

void FillAttempt(const AttemptRow& row, v1::AttemptInfo* attempt) {
  attempt->set_attempt(row.id);
  attempt->set_n(static_cast<std::int32_t>(row.n));
  attempt->set_state(row.state);
  attempt->set_failure_class(row.failure_class);
  attempt->set_message(row.message);
  attempt->set_worker(row.worker);
  attempt->set_started_ms(row.started_wall_ms);
  attempt->set_ended_ms(row.ended_wall_ms);
  attempt->set_duration_ms(row.duration_ms);
  attempt->set_durable_seq(row.durable_seq);
  attempt->set_resume_step(row.resume_step);
  attempt->set_started_json(row.started_json);
}

// Notes that rows of these sweeps' runs are lost: a row with a damaged key is not counted, and the
// count does not meet it. Counts again, since a sweep may have got runs after it was counted.
Status NoteLostRuns(Call& call, const std::map<std::string, std::int64_t>& n_runs) {
  ASSIGN_OR_RETURN(const std::vector<SweepRow> sweeps, call.reader.Sweeps());
  std::vector<DamagedRow> lost;
  for (const SweepRow& sweep : sweeps) {
    const auto expected = n_runs.find(sweep.id);
    if (expected == n_runs.end() || sweep.n_runs >= expected->second) continue;
    lost.push_back(DescribeLostMember("sweep_run", Str("a run of sweep \"", sweep.name, "\"")));
  }
  call.reader.NoteDamaged(lost);
  return Status();
}

}  // namespace

Status ListSweeps(Call& call, const v1::ListSweepsRequest& request,
                  v1::ListSweepsResponse* response) {
  ASSIGN_OR_RETURN(std::vector<SweepRow> sweeps, call.reader.Sweeps());
  if (!request.name().empty()) {
    std::erase_if(sweeps, [&](const SweepRow& sweep) { return sweep.name != request.name(); });
  }
  response->set_total(std::ssize(sweeps));
  if (request.newest() > 0 && request.newest() < std::ssize(sweeps)) {
    sweeps.erase(sweeps.begin(), sweeps.end() - request.newest());
  }
  RETURN_IF_ERROR(call.reader.AddLabels(sweeps));
  std::map<std::string, std::int64_t> fewer;  // sweeps with fewer rows than they have runs
  RETURN_IF_ERROR(call.parts.core.LookAndWait([&](const State& state) {
    const Instant now = BootMs();
    for (const SweepRow& sweep : sweeps) {
      v1::SweepInfo* info = response->add_sweeps();
      FillSweep(state, sweep, info);
      FillDuration(state, now, info);
      const auto runs = state.sweep_runs.find(sweep.id);
      if (runs == state.sweep_runs.end() || sweep.n_runs >= std::ssize(runs->second)) continue;
      info->set_runs(static_cast<std::int32_t>(runs->second.size()));
      // Of one that is being submitted in parts, not all rows are committed.
      if (sweep.id != state.submitting) fewer[sweep.id] = std::ssize(runs->second);
    }
  }));
  if (!fewer.empty()) RETURN_IF_ERROR(NoteLostRuns(call, fewer));
  return NoteKnownDamage(call.parts, call.reader,
                         {"sweep", "sweep_label", "sweep_run", "sweep_task", "task"});
}

Status GetSweep(Call& call, const v1::GetSweepRequest& request, v1::GetSweepResponse* response) {
  call.error.subject = request.sweep();
  ASSIGN_OR_RETURN(SweepRow sweep,
                   call.WithReason("SWEEP_NOT_FOUND", call.reader.FindSweep(request.sweep())));
  ASSIGN_OR_RETURN(SweepBody body, call.reader.BodyOfSweep(sweep.id));
  const bool brief = request.brief();
  if (request.file_only()) {
    response->mutable_info()->set_sweep_id(sweep.id);
    response->mutable_info()->set_name(sweep.name);
    response->set_yaml(std::move(body.yaml));
    response->set_axes_json(std::move(body.axes_json));
    ASSIGN_OR_RETURN(const Json overrides, ParseJson(body.overrides_json));
    for (const Json& one : overrides) {
      v1::Override* const override = response->add_overrides();
      override->set_path(one.at(0).get<std::string>());
      override->set_value(one.at(1).get<std::string>());
    }
    return Status();
  }
  if (!brief) response->set_yaml(std::move(body.yaml));
  response->set_axes_json(std::move(body.axes_json));
  SweepView view(call.parts.core, std::move(sweep), SweepView::Durations::kAlsoOfLive,
                 brief ? SweepView::Losses::kLeftOut : SweepView::Losses::kShown);
  v1::WatchSweepResponse shown;
  RETURN_IF_ERROR(view.Fill(call.reader, &shown));
  response->mutable_info()->Swap(shown.mutable_info());
  response->mutable_runs()->Swap(shown.mutable_runs());
  response->mutable_notices()->Swap(shown.mutable_notices());
  ASSIGN_OR_RETURN(const bool is_remote, IsRemote(call));
  AddFullDisk(call.parts, is_remote, response->mutable_notices());
  AddPilotNotices(call.parts.pilots, response->mutable_notices());
  if (shown.has_time_left()) response->mutable_time_left()->Swap(shown.mutable_time_left());
  for (int i = 0; i < response->runs_size(); ++i) {
    v1::RunInfo* run = response->mutable_runs(i);
    if (!brief) run->set_run_json(view.runs()[static_cast<std::size_t>(i)].run_json);
    for (v1::TaskInfo& task : *run->mutable_tasks()) {
      task.set_reason(WithOtherName(task.reason(), response->info().sweep_id(), request.sweep()));
      const auto known = view.lengths().find(task.task());
      if (known == view.lengths().end()) {
        RETURN_IF_ERROR(FillLengths(call.reader, &task));  // it is new
      } else {
        task.mutable_context_lengths()->Assign(known->second.begin(), known->second.end());
      }
    }
  }
  return Status();
}

Status GetRun(Call& call, const v1::GetRunRequest& request, v1::GetRunResponse* response) {
  call.error.subject = request.run();
  ASSIGN_OR_RETURN(const SweepRunRow row,
                   call.WithReason("RUN_NOT_FOUND", call.reader.FindRun(request.run())));
  v1::RunInfo* run = response->mutable_run();
  FillRun(row, run);
  run->set_run_json(row.run_json);
  ASSIGN_OR_RETURN(const std::vector<std::string> tasks, call.reader.TasksOfRun(row.run_key));
  RETURN_IF_ERROR(call.parts.core.LookAndWait([&](const State& state) {
    const Instant now = BootMs();
    for (const std::string& id : tasks) {
      const auto task = state.tasks.find(id);
      if (task == state.tasks.end()) continue;
      v1::TaskInfo* info = run->add_tasks();
      FillTask(state, task->second, "", now, info);
      const RanTime ran = RanTimeOf(state, task->second, now);
      if (!ran.is_partial) info->set_duration_ms(ran.ms);
    }
    const std::set<std::string> of_run(tasks.begin(), tasks.end());
    AddMissedWorkers(state, now, WallMs(), &of_run, response->mutable_notices());
    AddQuarantined(state, response->mutable_notices());
    AddFullWorkerDisks(state, response->mutable_notices());
    AddQuietTrainers(state, now, WallMs(), response->mutable_notices());
  }));
  AddPilotNotices(call.parts.pilots, response->mutable_notices());
  ASSIGN_OR_RETURN(const bool is_remote, IsRemote(call));
  AddFullDisk(call.parts, is_remote, response->mutable_notices());
  for (v1::TaskInfo& task : *run->mutable_tasks()) {
    ASSIGN_OR_RETURN(const std::vector<AttemptRow> attempts,
                     call.reader.AttemptsOfTask(task.task()));
    for (const AttemptRow& attempt : attempts) FillAttempt(attempt, task.add_attempt_list());
    RETURN_IF_ERROR(FillLengths(call.reader, &task));
  }
  return Status();
}

Status GetResults(Call& call, const v1::GetResultsRequest& request,
                  v1::GetResultsResponse* response) {
  if (!request.run().empty()) return ResultsOfRun(call, request.run(), response);
  call.error.subject = request.sweep();
  ASSIGN_OR_RETURN(const SweepRow sweep,
                   call.WithReason("SWEEP_NOT_FOUND", call.reader.FindSweep(request.sweep())));
  ASSIGN_OR_RETURN(const SweepBody body, call.reader.BodyOfSweep(sweep.id));
  ASSIGN_OR_RETURN(const Json axes, ParseJson(body.axes_json));
  for (const Json& axis : axes) response->add_axes(axis.get<std::string>());
  SweepNumbers numbers;
  ASSIGN_OR_RETURN(numbers.runs, call.reader.RunsOfSweep(sweep.id));
  // Cells first, so that a row that arrives in between is not missed.
  ASSIGN_OR_RETURN(const StoreReader::CellSet cells, call.reader.CellsOfSweep(sweep.id));
  RETURN_IF_ERROR(call.parts.core.LookAndWait([&](const State& state) {
    numbers.missing = MissingRows(state, sweep.id, cells);
    FillSweep(state, sweep, response->mutable_info());
  }));
  ASSIGN_OR_RETURN(numbers.results, call.reader.ResultsOfSweep(sweep.id));
  ASSIGN_OR_RETURN(std::vector<ResultBody> lost,
                   call.reader.LostOfSweep(sweep.id, cells, numbers.results));
  RETURN_IF_ERROR(FillLost(std::move(lost), numbers.results));
  ASSIGN_OR_RETURN(const bool is_whole, call.reader.IsWhole(sweep.id, numbers.runs));
  if (!is_whole) RETURN_IF_ERROR(MarkDamaged(call.parts.core, call.reader, body, numbers));
  std::unordered_set<std::string_view> run_keys;
  for (const SweepRunRow& row : numbers.runs) {
    run_keys.insert(row.run_key);
    v1::RunInfo* run = response->add_runs();
    FillRun(row, run);
    run->set_run_json(row.run_json);
  }
  RETURN_IF_ERROR(FillAncestors(call.reader, response));
  StoreReader::CellSet known;
  for (ResultBody& result : numbers.results) {
    if (!numbers.missing.empty()) known.insert(result.cell);
    if (!run_keys.contains(result.run_key)) continue;
    FillResult(std::move(result), response->add_rows());
  }
  for (v1::ResultRow& row : numbers.missing) {
    if (known.contains(row.cell()) || !run_keys.contains(row.run_key())) continue;
    *response->add_rows() = std::move(row);
  }
  return Status();
}

Status GetSeries(Call& call, const v1::GetSeriesRequest& request, v1::GetSeriesResponse* response) {
  call.error.subject = request.run();
  ASSIGN_OR_RETURN(const SweepRunRow run,
                   call.WithReason("RUN_NOT_FOUND", call.reader.FindRun(request.run())));
  ASSIGN_OR_RETURN(const std::vector<CurvePoint> points,
                   call.reader.Curve(TrainTaskKey(run.run_key), request.metric()));
  for (const CurvePoint& point : points) {
    response->add_step(point.step);
    response->add_value(point.value);
  }
  return Status();
}

}  // namespace longrun::coordinator
