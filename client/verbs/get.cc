// longrun get THING: a sweep with its runs and tasks, or a run with its attempts.
#include <algorithm>
#include <set>

#include "base/str.h"
#include "base/units.h"
#include "base/utf8.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/retrying_client.h"
#include "client/words/evaluation_of.h"
#include "client/words/failures.h"
#include "client/words/kept_work.h"
#include "client/words/labels.h"
#include "client/words/no_service.h"
#include "client/words/older_sweeps.h"
#include "client/words/provenance.h"
#include "client/words/render.h"
#include "client/words/run_limit.h"
#include "client/words/sweep_view.h"
#include "sweeps/schema.h"

namespace longrun::client {
namespace {

constexpr std::size_t kRunDigitsMin = 8;  // with less, it can only be a sweep's name

constexpr std::size_t kReasonBytes = 60;  // in the table; the full reason is below it

struct GetArguments {
  std::string thing;
  RunLimit limit = {};
  std::shared_ptr<std::string> output;
};

// Shortens the reasons of failed tasks, and of those skipped because of them: the list of failures
// below the table has them in full.
std::string ReasonOf(const v1::TaskInfo& task, bool in_full) {
  const std::string reason = OneLine(Printable(task.reason()));
  const bool is_listed_below = task.state() == "FAILED" || task.state() == "SKIPPED";
  if (in_full || !is_listed_below) return reason;
  return Shortened(reason, kReasonBytes, " …");
}

// The attention back-end of a run's layers, which its first attempt decides.
std::string PathOf(const v1::RunInfo& run) {
  const Json execution = JsonIn(run.execution_json());
  return execution.is_object() ? execution.at("paths").value("attention", "") : std::string();
}

// How long the task has run; "" if it has not begun, or if that is not known.
std::string TimeOf(const v1::TaskInfo& task) {
  const bool has_run = task.has_duration_ms() && TriesOf(task) > 0;
  return has_run ? FormatDurationMs(task.duration_ms()) : "";
}

// The tasks of runs, a line each: with position, train length and every axis that
// tells the runs apart.
struct TaskTable {
  std::vector<std::string> header = {"run", "position", "train_length"};
  std::vector<Align> align = {Align::kLeft, Align::kLeft, Align::kRight};
  std::vector<std::vector<std::string>> rows = {};
};

// What the scheduler says of a task that no worker has taken.
constexpr std::string_view kWaitsForSlot = "waits for a free slot";

// Without a service there are no slots, and none will be free.
void SayServiceIsMissing(v1::RunInfo& run) {
  for (v1::TaskInfo& task : *run.mutable_tasks()) {
    if (task.state() == "READY" && task.reason() == kWaitsForSlot) {
      task.set_reason("waits for a service");
    }
  }
}

// Leaves out the worker's column if no task has a worker at present.
void DropEmptyWorkers(TaskTable& table) {
  const auto column = std::ranges::find(table.header, "worker") - table.header.begin();
  const auto at = static_cast<std::size_t>(column);
  const bool any = std::ranges::any_of(
      table.rows, [at](const std::vector<std::string>& row) { return !row[at].empty(); });
  if (any) return;
  table.header.erase(table.header.begin() + column);
  table.align.erase(table.align.begin() + column);
  for (std::vector<std::string>& row : table.rows) row.erase(row.begin() + column);
}

// Of the runs at `shown`.
TaskTable TasksOf(const Runs& runs, const std::vector<int>& shown, bool in_full) {
  TaskTable table;
  const std::set<std::string> others = OtherAxes(runs);
  for (const std::string& axis : others) {
    table.header.push_back(ShortAxis(axis));
    table.align.push_back(Align::kLeft);
  }
  const bool tells_evaluations = std::ranges::any_of(runs, HasSeveralEvaluations);
  table.header.insert(table.header.end(), {"task", "kind"});
  if (tells_evaluations) table.header.push_back("evaluation");
  table.header.insert(table.header.end(), {"state", "tries", "time", "worker", "path", "reason"});
  table.align.resize(table.header.size(), Align::kLeft);
  for (const std::size_t from_end : {5u, 4u}) {  // tries, time
    table.align[table.header.size() - from_end] = Align::kRight;
  }
  for (const int i : shown) {
    const v1::RunInfo& run = runs[i];
    const Json axes = JsonIn(run.axes_json());
    const auto axis_text = [&axes](const std::string& axis) {
      return AxisText(axes.value(axis, Json("")));
    };
    for (const v1::TaskInfo& task : run.tasks()) {
      std::vector<std::string>& row = table.rows.emplace_back();
      row = {ShortId(run.run_key()), axis_text("position"), axis_text("train_length")};
      for (const std::string& axis : others) row.push_back(axis_text(axis));
      row.insert(row.end(), {ShortId(task.task()), task.kind()});
      if (tells_evaluations) row.push_back(EvaluationOf(task));
      row.insert(row.end(), {task.state(), Str(TriesOf(task)), TimeOf(task), task.worker(),
                             PathOf(run), ReasonOf(task, in_full)});
    }
  }
  return table;
}

// The columns of the table, followed by times as plain numbers.
std::string TasksCsv(const Runs& runs, const std::vector<int>& shown) {
  TaskTable table = TasksOf(runs, shown, /*in_full=*/true);
  const auto time = std::ranges::find(table.header, "time") - table.header.begin();
  table.header.erase(table.header.begin() + time);
  table.header.emplace_back("duration_ms");
  auto row = table.rows.begin();
  for (const int i : shown) {
    for (const v1::TaskInfo& task : runs[i].tasks()) {
      row->erase(row->begin() + time);
      row->push_back(task.has_duration_ms() ? Str(task.duration_ms()) : "");
      ++row;
    }
  }
  return RenderCsv(table.header, table.rows);
}

std::string LabelLine(const char* name, const std::string& text) {
  return text.empty() ? std::string() : Str(name, ": ", text, "\n");
}

// `kept`: which of its tasks stay although it was cancelled or paused.
std::string SweepText(const v1::GetSweepResponse& sweep, const std::vector<int>& shown,
                      const std::string& kept) {
  const v1::SweepInfo& info = sweep.info();
  TaskTable tasks = TasksOf(sweep.runs(), shown, /*in_full=*/false);
  DropEmptyWorkers(tasks);
  const std::string ran = TimeRunText(info);
  const std::string left = TimeLeftText(sweep.time_left(), info.name());
  return Str(info.name(), " (", info.sweep_id(), "): ", info.state(), ", submitted ",
             FirstSubmitted(info), ran.empty() ? "" : Str(", ran ", ran, " in all"), "\n",
             kept.empty() ? "" : kept + "\n", LabelLine("labels", LabelsText(info.labels())),
             LabelLine("note", info.note())) +
         RenderColumns(tasks.header, tasks.align, tasks.rows) + (left.empty() ? "" : left + "\n");
}

// What the run itself has on an axis on which it stands with the value of its base; null if that is
// the same, or is no single value.
Json OwnOfStage(const v1::RunInfo& run, const Json& resolved, const std::string& axis,
                const Json& of_base) {
  Json own;
  if (axis == "dataset") {
    own = run.dataset();
  } else if (axis == "train_length" || axis.starts_with("train.")) {
    const std::string path = axis == "train_length" ? "train.train_length" : axis;
    const Json* value = &resolved;
    for (const std::string& part : Split(path, '.')) {
      if (!value->is_object() || !value->contains(part)) return nullptr;
      value = &value->at(part);
    }
    own = *value;
  }
  return own.is_primitive() && of_base.is_primitive() && own != of_base ? own : Json();
}

std::string RunText(const v1::RunInfo& run) {
  std::string text = "run " + run.run_key() + "\n";
  const Json axes = JsonIn(run.axes_json());
  const Json resolved = JsonIn(run.run_json());
  const bool is_of_stage = axes.value(std::string(kStageAxis), Json(kBaseStage)) != kBaseStage;
  for (const auto& [axis, value] : axes.items()) {
    const Json own = is_of_stage ? OwnOfStage(run, resolved, axis, value) : Json();
    text += own.is_null()
                ? Str("  ", axis, ": ", AxisText(value), "\n")
                : Str("  ", axis, ": ", AxisText(own), " (its base: ", AxisText(value), ")\n");
  }
  if (resolved.is_object() && resolved.contains("parent")) {
    text += Str("  parent: ", resolved.at("parent").get<std::string>(), "\n");
  }
  if (resolved.is_object() && resolved.contains("init")) {
    const Json& init = resolved.at("init");
    text +=
        Str("  starts from: ",
            init.contains("run") ? Str("run ", init.at("run").get<std::string>())
                                 : init.at("sha256").get<std::string>(),
            resolved.at("train").contains("tokens") ? "" : " (evaluated without training)", "\n");
  }
  const Json execution = JsonIn(run.execution_json());
  if (execution.is_object()) text += "  execution: " + CanonicalJson(execution) + "\n";
  for (const auto& [name, value] : ProvenanceOf(StartedOf(run))) {
    text += Str("  ", name, ": ", value, "\n");
  }
  for (const v1::TaskInfo& task : run.tasks()) {
    const std::string evaluation = EvaluationOf(task);
    text += Str("task ", ShortId(task.task()), " ", task.kind(),
                evaluation.empty() ? "" : Str(" (", evaluation, ")"), " ", task.state(), ": ",
                ReasonOf(task, /*in_full=*/false), "\n");
    for (const v1::AttemptInfo& attempt : task.attempt_list()) {
      text += Str("  attempt ", attempt.n(), " ", attempt.attempt(), " ", attempt.state(), " on ",
                  attempt.worker());
      const std::string& failure = attempt.failure_class();
      if (!failure.empty()) text += " (" + failure + ")";
      const auto resume = attempt.resume_step();
      if (resume > 0) text += Str(", resumed at step ", resume);
      // Of a live attempt, the task's time says more: it goes to now.
      if (attempt.started_ms() > 0 && attempt.ended_ms() > 0) {
        text += Str(", ran ", FormatDurationMs(attempt.duration_ms()));
      }
      const std::string message = OneLine(Printable(attempt.message()));
      // The newest attempt's message is the failed task's reason, which is below in full.
      const bool is_listed_below = task.state() == "FAILED" && attempt.attempt() == task.attempt();
      if (!message.empty() && !is_listed_below) text += ": " + message;
      text += "\n";
    }
  }
  return text;
}

std::vector<int> ChooseRuns(const GetArguments& arguments, const v1::GetSweepResponse& sweep) {
  const Runs& runs = sweep.runs();
  const auto n_runs = static_cast<std::size_t>(runs.size());
  const std::size_t n_shown = arguments.limit.Of(*arguments.output, n_runs);
  if (n_shown < n_runs) {
    SayLine(Str(n_shown, " of ", n_runs,
                " runs, running and failed ones first, then waiting ones: `longrun get ",
                sweep.info().name(), " --limit 0` shows all"));
  }
  return RunsToShow(runs, n_shown);
}

int ShowSweep(const GetArguments& arguments, const std::string& state, RetryingClient& client,
              v1::GetSweepResponse sweep) {
  const std::string& output = *arguments.output;
  const bool service_runs = !client.coordinator().momentary();
  const bool is_over = SweepExitCode({sweep.info().state()}) != kExitIncomplete;
  const std::vector<int> shown = ChooseRuns(arguments, sweep);
  if (output == "json") {
    Runs runs;
    for (const int i : shown) *runs.Add() = std::move(*sweep.mutable_runs(i));
    sweep.mutable_runs()->Swap(&runs);
    Json json = ToJson(sweep);
    json["service_runs"] = service_runs;
    Print(RenderJson(json));
    return kExitOk;
  }
  if (!service_runs && output == "table") {
    ShowInterrupted(sweep);
    std::ranges::for_each(*sweep.mutable_runs(), SayServiceIsMissing);
  }
  if (output == "csv") {
    Print(TasksCsv(sweep.runs(), shown));
  } else {
    PrintText(SweepText(sweep, shown, KeptWorkText(client, sweep.info())));
    PrintText(FailuresText(client.coordinator().connection(), sweep.runs(), sweep.info().name()));
    PrintNotices(sweep.notices());
  }
  if (!service_runs && !is_over) {
    SayLine(NoServiceText(client, state));
  }
  return kExitOk;
}

int ShowRun(const std::string& output, const std::string& state, RetryingClient& client,
            v1::GetRunResponse answer) {
  const bool service_runs = !client.coordinator().momentary();
  if (output == "json") {
    Json json = ToJson(answer.run());
    json["service_runs"] = service_runs;
    Print(RenderJson(json));
    return kExitOk;
  }
  if (!service_runs && output == "table") {
    ShowInterrupted(answer);
    SayServiceIsMissing(*answer.mutable_run());
  }
  Runs runs;
  *runs.Add() = answer.run();
  const v1::RunInfo& run = runs[0];
  if (output == "csv") {
    Print(TasksCsv(runs, {0}));
  } else {
    PrintText(RunText(run));
    PrintText(FailuresText(client.coordinator().connection(), runs, ShortId(run.run_key())));
    PrintNotices(answer.notices());
  }
  const bool is_over = std::ranges::all_of(run.tasks(), [](const v1::TaskInfo& task) {
    static const std::set<std::string> ended = {"SUCCEEDED", "FAILED", "CANCELLED", "SKIPPED"};
    return ended.contains(task.state());
  });
  if (!service_runs && !is_over) {
    SayLine(NoServiceText(client, state));
  }
  return kExitOk;
}

int Get(const GetArguments& arguments, const std::string& state) {
  const std::string& thing = arguments.thing;
  RetryingClient client(state);
  Result<v1::GetSweepResponse> sweep =
      client.GetSweep(thing, /*brief=*/*arguments.output != "json");
  if (sweep.ok()) {
    SayOlderSweeps(client, thing, {sweep->info().sweep_id()});
    return ShowSweep(arguments, state, client, std::move(sweep).value());
  }
  if (sweep.status().code() != Code::kNotFound) return Report(sweep.status());
  if (thing.size() < kRunDigitsMin) {
    const bool is_hex = thing.find_first_not_of("0123456789abcdef") == std::string::npos;
    return Report(is_hex ? Status(Code::kNotFound,
                                  Str(sweep.status().message(), "; for a run's id, give at least ",
                                      kRunDigitsMin, " of its digits, not ", thing.size()))
                         : sweep.status());
  }
  Result<v1::GetRunResponse> run = client.GetRun(thing);
  if (!run.ok()) {
    return Report(
        run.status().code() == Code::kNotFound
            ? Status(Code::kNotFound, sweep.status().message() + "; and there is no such run")
            : run.status());
  }
  return ShowRun(*arguments.output, state, client, std::move(run).value());
}

}  // namespace

void AddGet(Verbs& verbs) {
  Verb verb = verbs.AddVerb("get", "show a sweep with its tasks, or a run with its attempts");
  verb.AddExamples(
      {"longrun get my-sweep", "longrun get 1f2e3d4c -o json", "longrun get my-sweep --limit 0"});
  auto arguments = std::make_shared<GetArguments>();
  verb.AddArgument("THING", arguments->thing,
                   "a sweep's name or id, or a run's id (8 digits or more)")
      .Required();
  AddRunLimit(verb, arguments->limit);
  arguments->output = AddOutput(verb, {"table", "json", "csv"});
  verb.SetRun([&verbs, arguments] { return Get(*arguments, verbs.state); });
}

}  // namespace longrun::client
