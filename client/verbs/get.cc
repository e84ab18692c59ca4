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
#include "client/words/failures.h"
#include "client/words/kept_work.h"
#include "client/words/labels.h"
#include "client/words/no_service.h"
#include "client/words/provenance.h"
#include "client/words/render.h"
#include "client/words/run_limit.h"
#include "client/words/sweep_view.h"
#include "sweeps/evaluation_name.h"

namespace longrun {
namespace {

constexpr std::size_t kRunDigitsMin = 8;  // with less, it can only be a sweep's name

constexpr std::size_t kReasonBytes = 60;  // of what is told in full below the table

struct GetArguments {
  std::string thing;
  RunLimit limit = {};
  std::shared_ptr<std::string> output;
};

// What failed is told in full below, and what was skipped for it is told there too.
std::string ReasonOf(const Json& task, bool in_full) {
  auto reason = task.at("reason").get<std::string>();
  const bool is_told_below = task.at("state") == "FAILED" || task.at("state") == "SKIPPED";
  if (in_full || !is_told_below) return reason;
  return Shortened(reason, kReasonBytes, " …");
}

// Which attention the layers of a run take: decided with its first attempt.
std::string PathOf(const Json& run) {
  const Json& execution = run.at("execution");
  return execution.is_object() ? execution.at("paths").value("attention", "") : std::string();
}

// nullopt: its stored row is damaged.
std::optional<std::int64_t> RanMs(const Json& task) {
  const Json& ran_ms = task.at("duration_ms");
  return ran_ms.is_null() ? std::nullopt : std::optional(ran_ms.get<std::int64_t>());
}

// The tasks of runs, a line each: with position, train length and every axis that
// tells the runs apart.
struct TaskTable {
  std::vector<std::string> header = {"run", "position", "train_length"};
  std::vector<Align> align = {Align::kLeft, Align::kLeft, Align::kRight};
  std::vector<std::vector<std::string>> rows = {};
};

// "perplexity nonoverlap validation at 64, 128": what tells the evaluations of a run apart.
std::string EvaluationOf(const Json& task) {
  const Json& evaluation = task.at("evaluation");
  if (!evaluation.is_object() || evaluation.empty()) return "";
  const std::string& name = evaluation.begin().key();
  const std::string protocol = EvaluationName(evaluation, /*whole=*/false);
  std::vector<std::string> parts = {name};
  if (protocol != name) parts.push_back(protocol);
  const Json& params = evaluation.begin().value();
  if (params.is_object() && params.contains("split")) {
    parts.push_back(AxisText(params.at("split")));
  }
  std::vector<std::string> lengths;
  for (const Json& length : task.at("context_lengths")) {
    lengths.push_back(Str(length.get<std::int64_t>()));
  }
  return Str(Join(parts, " "), lengths.empty() ? "" : " at ", Join(lengths, ", "));
}

bool HasSeveralEvaluations(const Json& run) {
  return std::ranges::count_if(run.at("tasks"),
                               [](const Json& task) { return task.at("kind") == "evaluate"; }) > 1;
}

// Of the runs at `shown`.
TaskTable TasksOf(const Json& runs, const std::vector<std::size_t>& shown, bool in_full) {
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
  for (const std::size_t i : shown) {
    const Json& run = runs[i];
    const auto axis_text = [&run](const std::string& axis) {
      return AxisText(run.at("axes").value(axis, Json("")));
    };
    for (const Json& task : run.at("tasks")) {
      std::vector<std::string>& row = table.rows.emplace_back();
      row = {ShortId(run.at("run_key").get<std::string>()), axis_text("position"),
             axis_text("train_length")};
      for (const std::string& axis : others) row.push_back(axis_text(axis));
      row.insert(row.end(),
                 {ShortId(task.at("task").get<std::string>()), task.at("kind").get<std::string>()});
      if (tells_evaluations) row.push_back(EvaluationOf(task));
      row.insert(row.end(),
                 {task.at("state").get<std::string>(), Str(task.at("attempts").get<std::int64_t>()),
                  DurationText(RanMs(task).value_or(0)), task.at("worker").get<std::string>(),
                  PathOf(run), ReasonOf(task, in_full)});
    }
  }
  return table;
}

// The columns of the table, with times as plain numbers behind them.
std::string TasksCsv(const Json& runs, const std::vector<std::size_t>& shown) {
  TaskTable table = TasksOf(runs, shown, /*in_full=*/true);
  const auto time = std::ranges::find(table.header, "time") - table.header.begin();
  table.header.erase(table.header.begin() + time);
  table.header.emplace_back("duration_ms");
  auto row = table.rows.begin();
  for (const std::size_t i : shown) {
    for (const Json& task : runs[i].at("tasks")) {
      row->erase(row->begin() + time);
      const std::optional<std::int64_t> ran_ms = RanMs(task);
      row->push_back(ran_ms ? Str(*ran_ms) : "");
      ++row;
    }
  }
  return RenderCsv(table.header, table.rows);
}

std::string LabelLine(const char* name, const std::string& text) {
  return text.empty() ? std::string() : Str(name, ": ", text, "\n");
}

// `kept`: which of its tasks go on although it was cancelled.
std::string SweepText(const Json& sweep, const std::vector<std::size_t>& shown,
                      const std::string& kept) {
  const Json& info = sweep.at("info");
  const TaskTable tasks = TasksOf(sweep.at("runs"), shown, /*in_full=*/false);
  const std::string ran = TimeRunText(info);
  const std::string left = TimeLeftText(sweep);
  return Str(info.at("name").get<std::string>(), " (", info.at("sweep_id").get<std::string>(),
             "): ", info.at("state").get<std::string>(), ", submitted ", FirstSubmitted(info),
             ran.empty() ? "" : Str(", ran ", ran, " in all"), "\n",
             kept.empty() ? "" : kept + "\n", LabelLine("labels", LabelsText(info.at("labels"))),
             LabelLine("note", info.at("note").get<std::string>())) +
         RenderColumns(tasks.header, tasks.align, tasks.rows) + (left.empty() ? "" : left + "\n");
}

std::string RunText(const Json& run) {
  std::string text = "run " + run.at("run_key").get<std::string>() + "\n";
  for (const auto& [axis, value] : run.at("axes").items()) {
    text += "  " + axis + ": " + AxisText(value) + "\n";
  }
  if (run.at("run").is_object() && run.at("run").contains("parent")) {
    text += Str("  parent: ", run.at("run").at("parent").get<std::string>(), "\n");
  }
  if (run.at("run").is_object() && run.at("run").contains("init")) {
    text += Str("  starts from: ", run.at("run").at("init").at("sha256").get<std::string>(),
                run.at("run").at("train").contains("tokens") ? "" : " (measured as it is)", "\n");
  }
  if (run.at("execution").is_object()) {
    text += "  execution: " + CanonicalJson(run.at("execution")) + "\n";
  }
  for (const auto& [name, value] : ProvenanceOf(StartedOf(run))) {
    text += Str("  ", name, ": ", value, "\n");
  }
  for (const Json& task : run.at("tasks")) {
    const std::string evaluation = EvaluationOf(task);
    text += Str("task ", ShortId(task.at("task").get<std::string>()), " ",
                task.at("kind").get<std::string>(),
                evaluation.empty() ? "" : Str(" (", evaluation, ")"), " ",
                task.at("state").get<std::string>(), ": ", ReasonOf(task, /*in_full=*/false), "\n");
    for (const Json& attempt : task.at("attempt_list")) {
      text +=
          Str("  attempt ", attempt.at("n").get<std::int64_t>(), " ",
              attempt.at("attempt").get<std::string>(), " ", attempt.at("state").get<std::string>(),
              " on ", attempt.at("worker").get<std::string>());
      const std::string failure = attempt.at("failure_class").get<std::string>();
      if (!failure.empty()) text += " (" + failure + ")";
      const auto resume = attempt.at("resume_step").get<std::int64_t>();
      if (resume > 0) text += Str(", resumed at step ", resume);
      const std::string ran = DurationText(attempt.at("duration_ms").get<std::int64_t>());
      if (!ran.empty()) text += Str(", ran ", ran);
      const std::string message = attempt.at("message").get<std::string>();
      // Of a task that failed, the newest attempt's message is its reason, told in full below.
      const bool is_told_below =
          task.at("state") == "FAILED" && attempt.at("attempt") == task.at("attempt");
      if (!message.empty() && !is_told_below) text += ": " + message;
      text += "\n";
    }
  }
  return text;
}

std::vector<std::size_t> ChooseRuns(const GetArguments& arguments, const Json& sweep) {
  const Json& runs = sweep.at("runs");
  const std::size_t n_shown = arguments.limit.Of(*arguments.output, runs.size());
  if (n_shown < runs.size()) {
    SayLine(Str(n_shown, " of ", runs.size(),
                " runs, those that run or failed first, then those that wait: `longrun get ",
                sweep.at("info").at("name").get<std::string>(), " --limit 0` shows all"));
  }
  return RunsToShow(runs, n_shown);
}

int ShowSweep(const GetArguments& arguments, const std::string& state, RetryingClient& client,
              Json sweep) {
  const std::string& output = *arguments.output;
  const bool service_runs = !client.coordinator().momentary();
  const bool is_over = SweepExitCode({sweep.at("info")}) != kExitIncomplete;
  const std::vector<std::size_t> shown = ChooseRuns(arguments, sweep);
  if (output == "json") {
    Json runs = Json::array();
    for (const std::size_t i : shown) runs.push_back(std::move(sweep["runs"][i]));
    sweep["runs"] = std::move(runs);
    sweep["service_runs"] = service_runs;
    Print(RenderJson(sweep));
    return kExitOk;
  }
  if (!service_runs && output == "table") ShowInterrupted(sweep);
  if (output == "csv") {
    Print(TasksCsv(sweep.at("runs"), shown));
  } else {
    Print(SweepText(sweep, shown, KeptWorkText(client, sweep.at("info"))));
    Print(FailuresText(client.coordinator().connection(), sweep.at("runs"),
                       sweep.at("info").at("name").get<std::string>()));
    PrintNotices(sweep.at("notices"));
  }
  if (!service_runs && !is_over) {
    SayLine(NoServiceText(client.coordinator().connection(), state));
  }
  return kExitOk;
}

int ShowRun(const std::string& output, const std::string& state, RetryingClient& client, Json run) {
  if (output == "json") {
    Print(RenderJson(run.at("run")));
    return kExitOk;
  }
  const bool service_runs = !client.coordinator().momentary();
  if (!service_runs && output == "table") ShowInterrupted(run);
  if (output == "csv") {
    Print(TasksCsv(Json::array({run.at("run")}), {0}));
  } else {
    Print(RunText(run.at("run")));
    Print(FailuresText(client.coordinator().connection(), Json::array({run.at("run")}),
                       ShortId(run.at("run").at("run_key").get<std::string>())));
    PrintNotices(run.at("notices"));
  }
  const bool is_over = std::ranges::all_of(run.at("run").at("tasks"), [](const Json& task) {
    static const std::set<std::string> ended = {"SUCCEEDED", "FAILED", "CANCELLED", "SKIPPED"};
    return ended.contains(task.at("state").get<std::string>());
  });
  if (!service_runs && !is_over) {
    SayLine(NoServiceText(client.coordinator().connection(), state));
  }
  return kExitOk;
}

int Get(const GetArguments& arguments, const std::string& state) {
  const std::string& thing = arguments.thing;
  RetryingClient client(state);
  Result<Json> sweep =
      client.Call("GetSweep", {{"sweep", thing}, {"brief", *arguments.output != "json"}});
  if (sweep.ok()) return ShowSweep(arguments, state, client, std::move(sweep).value());
  if (sweep.status().code() != Code::kNotFound) return Report(sweep.status());
  if (thing.size() < kRunDigitsMin) {
    const bool is_hex = thing.find_first_not_of("0123456789abcdef") == std::string::npos;
    return Report(is_hex ? Status(Code::kNotFound,
                                  Str(sweep.status().message(), "; for a run's id, give ",
                                      kRunDigitsMin, " of its digits or more, not ", thing.size()))
                         : sweep.status());
  }
  Result<Json> run = client.Call("GetRun", {{"run", thing}});
  if (!run.ok()) {
    return Report(run.status().code() == Code::kNotFound
                      ? Status(Code::kNotFound, sweep.status().message() + "; nor a run")
                      : run.status());
  }
  return ShowRun(*arguments.output, state, client, std::move(run).value());
}

}  // namespace

void AddGet(Verbs& verbs) {
  Verb verb = verbs.AddVerb("get", "a sweep with its tasks, or a run with its attempts");
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

}  // namespace longrun
