// longrun report SWEEP: one HTML page with everything about a sweep.
#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/clock.h"
#include "base/files.h"
#include "base/str.h"
#include "base/version.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/console/output_file.h"
#include "client/plots/plot_losses.h"
#include "client/report/report_page.h"
#include "client/tables/pivot_axes.h"
#include "client/tables/sweep_results.h"
#include "client/verb.h"
#include "client/wire/retrying_client.h"
#include "client/words/no_service.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

constexpr std::size_t kCurvesMax = 60;      // runs whose curves are drawn
constexpr std::size_t kFailuresMax = 20;    // shown with their logs
constexpr std::size_t kLogLines = 30;       // the last lines of each
constexpr std::size_t kLogBytesMax = 8192;  // of these
constexpr std::int64_t kQueryMs = 30'000;

std::string TextOf(const Json& value) { return value.is_string() ? value.get<std::string>() : ""; }

Json JsonOf(const Json& text) {
  if (!text.is_string()) return nullptr;
  Result<Json> parsed = ParseJson(text.get_ref<const std::string&>());
  return parsed.ok() ? std::move(parsed).value() : Json(nullptr);
}

// Asks for rows of this sweep.
Result<Json> Rows(RetryingClient& client, const std::string& sweep_id, const std::string& sql) {
  ASSIGN_OR_RETURN(const v1::QueryResponse answer,
                   client.Query(sql, {.timeout_ms = kQueryMs, .sweep_id = sweep_id}));
  if (const std::string& cut = answer.cut_by(); !cut.empty()) {
    return Status(Code::kResourceExhausted,
                  Str("the sweep is too large for one page (limit of ", cut,
                      "): `longrun table` and `longrun query` show it in parts"));
  }
  return JsonIn(answer.rows_json());
}

Status ReadRuns(RetryingClient& client, const std::string& sweep_id, ReportInput& input) {
  const std::string of_sweep =
      Str("run_key IN (SELECT run_key FROM sweep_runs WHERE sweep_id = '", sweep_id, "')");
  ASSIGN_OR_RETURN(
      const Json runs,
      Rows(client, sweep_id,
           Str("SELECT run_key, axes, dataset, dataset_digest, seed, train_state, checkpoint"
               " FROM sweep_runs JOIN runs USING (run_key) WHERE sweep_id = '",
               sweep_id, "' ORDER BY ordinal")));
  // For each run the attempt that succeeded, else the newest that began.
  ASSIGN_OR_RETURN(const Json started,
                   Rows(client, sweep_id,
                        Str("SELECT run_key, started FROM attempts WHERE kind = 'train'"
                            " AND started IS NOT NULL AND ",
                            of_sweep, " ORDER BY state = 'SUCCEEDED', attempt")));
  std::map<std::string, Json> started_of;
  for (const Json& row : started) started_of[row.at(0).get<std::string>()] = JsonOf(row.at(1));
  for (const Json& row : runs) {
    ReportRun& run = input.runs.emplace_back();
    run.run_key = row.at(0).get<std::string>();
    run.axes = JsonOf(row.at(1));
    run.dataset = TextOf(row.at(2));
    run.dataset_digest = TextOf(row.at(3));
    run.seed = row.at(4);
    run.train_state = TextOf(row.at(5));
    if (client.coordinator().momentary()) {
      run.train_state = TaskStateWithoutService(run.train_state);
    }
    run.checkpoint = TextOf(row.at(6));
    run.started = started_of[run.run_key];
  }
  return {};
}

std::string LastLines(const std::string& text) {
  std::size_t begin = text.size();
  std::size_t n_lines = 0;
  while (begin > 0 && text.size() - begin < kLogBytesMax) {
    if (text[begin - 1] == '\n' && begin != text.size() && ++n_lines == kLogLines) break;
    --begin;
  }
  return text.substr(begin);
}

// Reads failures of only the sweep's own tasks: another sweep may have other evaluations
// of the same runs.
Status ReadFailures(RetryingClient& client, const std::string& sweep_id,
                    const Repeated<v1::RunInfo>& runs, ReportInput& input) {
  std::set<std::string> tasks;
  for (const v1::RunInfo& run : runs) {
    for (const v1::TaskInfo& task : run.tasks()) tasks.insert(task.task());
  }
  ASSIGN_OR_RETURN(
      const Json rows,
      Rows(client, sweep_id,
           Str("SELECT run_key, kind, n, attempt, state, failure_class, message, worker, task"
               " FROM attempts WHERE (failure_class <> '' OR state IN ('FAILED', 'LOST'))"
               // A user stopped it, or it was withdrawn before anything had run.
               " AND state NOT IN ('CANCELLED', 'PREEMPTED', 'REJECTED')"
               " AND run_key IN (SELECT run_key FROM sweep_runs WHERE sweep_id = '",
               sweep_id, "') ORDER BY attempt DESC")));
  for (const Json& row : rows) {
    if (!tasks.contains(row.at(8).get<std::string>())) continue;
    input.n_failures += 1;
    if (input.failures.size() == kFailuresMax) continue;
    ReportFailure& failure = input.failures.emplace_back();
    failure.run_key = row.at(0).get<std::string>();
    failure.kind = row.at(1).get<std::string>();
    failure.n = row.at(2).get<std::int64_t>();
    failure.attempt = row.at(3).get<std::string>();
    failure.state = row.at(4).get<std::string>();
    failure.failure_class = row.at(5).get<std::string>();
    failure.message = row.at(6).get<std::string>();
    failure.worker = row.at(7).get<std::string>();
    std::string log;
    const Status read = client.coordinator().connection().GetLogs(
        failure.attempt, /*follow=*/false, [&](const v1::GetLogsResponse& message) {
          log += message.text();
          log = LastLines(log);
          return true;
        });
    failure.log_tail = read.ok() ? log : Str("(its log cannot be read: ", read.message(), ")");
  }
  return {};
}

// "rope, train length 64": the position and the other axes that differ between runs,
// without the seed.
std::string NameOfCurve(const RunRef& run, const std::vector<RunRef>& runs,
                        const std::vector<std::string>& axes) {
  std::vector<std::string> parts;
  for (const std::string& axis : axes) {
    const Json value = RunValue(run, axis);
    const bool varies = std::ranges::any_of(
        runs, [&](const RunRef& other) { return RunValue(other, axis) != value; });
    if (axis == "seed" || (axis != "position" && !varies)) continue;
    std::string words = ShortAxis(axis);
    std::ranges::replace(words, '_', ' ');
    if (axis == "position") {
      parts.insert(parts.begin(), AxisText(value));
    } else {
      parts.push_back(value.is_number() ? Str(words, " ", AxisText(value)) : AxisText(value));
    }
  }
  return Join(parts, ", ");
}

Result<LossCurve> ReadCurve(RetryingClient& client, const RunRef& run, const char* metric) {
  const std::optional<double> batch_tokens = BatchTokens(run.run->resolved);
  if (!batch_tokens) return LossCurve();
  ASSIGN_OR_RETURN(const v1::GetSeriesResponse series, client.GetSeries(run.run_key(), metric));
  return CurveOf(series, *batch_tokens);
}

Status ReadCurves(RetryingClient& client, ReportInput& input) {
  std::vector<SweepResults> results;  // a list in braces would copy it
  results.push_back(ReadResults(input.info.name(), input.results));
  const std::vector<RunRef> runs = RunRefsOf(results);
  const std::vector<std::string> axes = MatrixAxes(results, runs);
  const std::size_t n_drawn = std::min(runs.size(), kCurvesMax);
  input.n_curves_left_out = static_cast<std::int64_t>(runs.size() - n_drawn);
  for (std::size_t i = 0; i < n_drawn; ++i) {
    for (auto& [metric, curves] :
         {std::pair{"loss", &input.losses}, std::pair{"val_loss", &input.validations}}) {
      ASSIGN_OR_RETURN(LossCurve curve, ReadCurve(client, runs[i], metric));
      if (curve.x.empty()) continue;
      curve.name = NameOfCurve(runs[i], runs, axes);
      if (const Json position = RunValue(runs[i], "position"); !position.is_null()) {
        curve.group = AxisText(position);
      }
      curves->push_back(std::move(curve));
    }
  }
  return {};
}

Result<ReportInput> ReadSweep(RetryingClient& client, const std::string& sweep) {
  ReportInput input;
  ASSIGN_OR_RETURN(const v1::GetSweepResponse answer, client.GetSweep(sweep));
  input.info = answer.info();
  if (client.coordinator().momentary()) {
    input.info.set_state(StateWithoutService(input.info.state()));
  }
  input.yaml = answer.yaml();
  const std::string& id = input.info.sweep_id();
  ASSIGN_OR_RETURN(input.results, client.GetResultsOfSweep(id));
  ASSIGN_OR_RETURN(
      const Json rows,
      Rows(client, id, Str("SELECT labels, overrides FROM sweeps WHERE sweep_id = '", id, "'")));
  if (!rows.empty()) {
    input.labels = JsonOf(rows.at(0).at(0));
    input.overrides = JsonOf(rows.at(0).at(1));
  }
  RETURN_IF_ERROR(ReadRuns(client, id, input));
  RETURN_IF_ERROR(ReadFailures(client, id, answer.runs(), input));
  RETURN_IF_ERROR(ReadCurves(client, input));
  input.made_by = Str(kVersion, " (", BuildCommit(), ")");
  input.made_at = FormatWallMs(WallMs());
  return input;
}

int WriteReport(const std::string& sweep, const std::optional<std::string>& name,
                const std::string& state) {
  if (name == "") {
    return Report(
        Status(Code::kInvalidArgument,
               Str("-o \"\": expected the name of a file, or - to print the page; without "
                   "-o, the file is ",
                   sweep, ".html")));
  }
  const std::string file = name.value_or("");
  // Refuse a word that other verbs take as a format: here it would become the file's name.
  for (const std::string_view format :
       {"json", "jsonl", "csv", "table", "wide", "markdown", "latex"}) {
    if (file != format) continue;
    return Report(Status(
        Code::kInvalidArgument,
        Str("-o ", file,
            ": a report is always an HTML page, and -o gives the name of its file; `longrun table ",
            sweep, " -o ", file, "` gives the numbers")));
  }
  RetryingClient client(state);
  // Never destroyed: with thousands of runs, that would take a while.
  static const auto& input = *new auto(ReadSweep(client, sweep));
  if (!input.ok()) return client.ReportFailure(input.status());
  const Result<std::string> page = ReportPage(*input);
  if (!page.ok()) return Report(page.status());
  if (client.coordinator().momentary() && SweepExitCode({input->info.state()}) == kExitIncomplete) {
    SayLine(NoServiceText(client, state));
  }
  if (file == "-") {
    Print(*page);
    return kExitOk;
  }
  const std::string path = file.empty() ? input->info.name() + ".html" : file;
  if (Status written = WriteOutputFile(path, *page); !written.ok()) return Report(written);
  std::fprintf(stderr, "%s: open it in a browser; it needs no network\n", path.c_str());
  return kExitOk;
}

}  // namespace

void AddReport(Verbs& verbs) {
  Verb verb = verbs.AddVerb("report",
                            "write a sweep as one HTML page: table, curves, failures, provenance");
  const auto sweep = std::make_shared<std::string>();
  const auto file = std::make_shared<std::optional<std::string>>();
  verb.AddArgument("SWEEP", *sweep, "name or id").Required();
  verb.AddArgument("-o,--output", *file, "the file to write (default: SWEEP.html); -: print it");
  verb.AddExamples({"longrun report my-sweep", "longrun report my-sweep -o results/my-sweep.html"});
  verb.SetRun([&verbs, sweep, file] { return WriteReport(*sweep, *file, verbs.state); });
}

}  // namespace longrun::client
