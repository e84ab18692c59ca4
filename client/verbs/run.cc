// longrun run FILE: the embedded mode. Starts a coordinator and one worker on the local state
// folder, submits, watches, prints the table, and stops. The same command resumes interrupted work.
#include <cstdio>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/failpoint.h"
#include "base/str.h"
#include "base/units.h"
#include "client/claims/claim_text.h"
#include "client/claims/judge.h"
#include "client/claims/sweep_claims.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/console/suggestion.h"
#include "client/tables/pivot.h"
#include "client/tables/table_format.h"
#include "client/tables/worse_than_guessing.h"
#include "client/verb.h"
#include "client/wire/context.h"
#include "client/wire/embedded.h"
#include "client/wire/retrying_client.h"
#include "client/words/render.h"
#include "client/words/submission.h"
#include "client/words/sweep_file.h"
#include "client/words/sweep_view.h"
#include "client/words/task_reasons.h"

namespace longrun::client {
namespace {

struct RunArguments {
  std::shared_ptr<SweepFileArguments> file;
  std::shared_ptr<std::string> output;
  std::int64_t cpu_slots = 0;
};

void SayWhereToLook(const v1::SweepInfo& info, bool has_table, const std::string& state) {
  const std::string& name = info.name();
  std::vector<std::pair<std::string, std::string>> next = {
      {SuggestedCommand("get " + name), "runs, tasks, attempts"},
      {SuggestedCommand("ls"), "all sweeps"}};
  if (has_table && info.tasks_succeeded() > 0) {
    next.emplace(next.begin(), SuggestedCommand("table " + name + " -o json"),
                 "the same numbers, with token counts");
  }
  const std::string place = IsContext(state) ? PlaceText(state) : Str("state in ", state);
  std::fprintf(stderr, "\nwhere to look next (%s):\n", place.c_str());
  for (const auto& [command, what] : next) {
    std::fprintf(stderr, "  %-*s  %s\n", static_cast<int>(next[0].first.size()), command.c_str(),
                 what.c_str());
  }
}

// The file may have other claims than the sweep had when it was submitted first, so it is named,
// except if --set changes it: the command has no such option.
void SayClaims(const v1::SubmitSweepRequest& request, const std::string& name,
               const std::vector<SweepResults>& results) {
  const Result<std::vector<Claim>> claims =
      SweepClaims(request.yaml(), request.file_name(), OverridesOf(request));
  if (!claims.ok() || claims->empty()) return;
  const std::string file = request.overrides_size() > 0 ? "" : Str(" --file ", request.file_name());
  SayText(Str("\nclaims: ", ClaimsSummary(JudgeClaims(*claims, results)), "\n  ",
              SuggestedCommand(Str("claims ", name, file)), "\n"));
}

int PrintEnd(const v1::WatchSweepResponse& end, const v1::SubmitSweepRequest& request,
             const std::string& output, const std::string& state) {
  // Ask the present service: the one that carried out the sweep may have ended with its command.
  const Result<v1::GetResultsResponse> answer =
      RetryingClient(state).GetResultsOfSweep(end.info().sweep_id());
  if (!answer.ok()) return Report(answer.status());
  const std::vector<SweepResults> results = {ReadResults(end.info().name(), *answer)};
  const Result<std::vector<PivotTable>> tables = BuildPivot(results, ShownRequest(output));
  if (!tables.ok()) return Report(tables.status());
  PrintFailures(end);
  if (tables->empty()) SayLine(EvaluatesNothing(end.info().name()));
  PrintTables(*tables, output);
  if (const std::string note = WorseThanGuessing(results); !note.empty()) SayLine(note);
  if (const std::string note = LeftOutDepthsNote(*tables, end.info().name()); !note.empty()) {
    SayLine(note);
  }
  if (output == "table") {
    const std::string note = OtherMetricsNote(results);
    if (!note.empty()) std::fprintf(stderr, "\n%s\n", note.c_str());
    SayClaims(request, end.info().name(), results);
    SayWhereToLook(end.info(), /*has_table=*/!tables->empty(), state);
  }
  return SweepExitCode({end.info().state()});
}

// Warns, before the worker starts, if the sweep may fill the disk. It is only a warning: the
// forecast is an upper bound, and a trainer that finds the disk full keeps its checkpoints.
void SayWhatDiskItTakes(const v1::SubmitSweepResponse& submission) {
  const auto n_bytes = submission.disk_bytes();
  const auto n_free = submission.disk_free_bytes();
  const bool is_known = n_free > 0;  // a service of an earlier build does not say
  if (!is_known || n_bytes <= n_free) return;
  SayLine(Str("the checkpoints that this sweep keeps may need ", FormatBytes(n_bytes),
              ", but only ", FormatBytes(n_free),
              " are free on the disk of the state folder: free some space (`longrun gc`), lower "
              "train.checkpoint.keep, or choose another folder with --state"));
}

// The error about a file that cannot be read; it may be a sweep's name, given instead of its file.
int ReportFile(const std::string& file, const Status& status, const std::string& state) {
  const bool is_file = file.ends_with(".yaml") || file.ends_with(".yml");
  if (status.code() != Code::kNotFound || is_file || !RetryingClient(state).GetSweep(file).ok()) {
    return ReportRequest(status);
  }
  const std::string_view there_is =
      status.message().ends_with('?') ? " There is" : "; there is";  // after "did you mean a.yaml?"
  return Report(Status(Code::kNotFound,
                       Str(status.message(), there_is, " a sweep of that name: `longrun watch ",
                           file, "` follows it, `longrun table ", file,
                           "` shows it, and `longrun run` takes the file that it came from")));
}

// Why the worker of this machine can do nothing more of the sweep.
int ReportUnfit(const std::string& sweep, const std::string& state) {
  const Result<v1::GetReasonsResponse> answer = RetryingClient(state).GetReasons(sweep);
  if (!answer.ok()) return Report(answer.status());
  return Report(Status(
      Code::kFailedPrecondition,
      Str(UnfitText(*answer),
          "\n`longrun run` starts a worker only on this machine; with `longrun up --listen`, "
          "workers on other machines can join (docs/security.md)")));
}

int Run(const RunArguments& arguments, const std::string& state) {
  Result<v1::SubmitSweepRequest> request = SubmitRequest(*arguments.file, state);
  if (!request.ok()) return ReportFile(arguments.file->file, request.status(), state);

  // Uses a running service, or starts one that ends with this command. The worker of our own
  // starts after the submission: otherwise older tasks would take the slots.
  std::unique_ptr<Daemons> daemons;
  if (const Status awaited = AwaitService(state); !awaited.ok()) return Report(awaited);
  if (!ServiceRuns(state)) {
    CatchInterrupts();  // our daemons are to be stopped in order
    Result<std::unique_ptr<Daemons>> started =
        Daemons::Start(state, {.cpu_slots = arguments.cpu_slots}, Interrupted);
    const bool is_cancelled = started.status().code() == Code::kCancelled;
    // If another command has started a service at the same moment, use that.
    if (is_cancelled || (!started.ok() && !ServiceRuns(state))) return Report(started.status());
    if (started.ok()) daemons = std::move(started).value();
    if (daemons == nullptr) {
      LetInterruptsEnd();  // it waits for that service, however long it does not answer
      if (Interrupted()) return kExitInterrupted;
      Failpoint("run_without_daemons");
    }
  }
  // This client ends after the submission: its momentary coordinator must not pass for the service
  // that carries out the sweep.
  auto client = std::make_unique<RetryingClient>(
      state, [&] { return daemons != nullptr ? daemons->WhyLost() : Status(); });
  request->set_first(daemons != nullptr);
  const Status checked = CheckClaims(*client, *request);
  if (!checked.ok()) return client->ReportFailure(checked);
  const Result<v1::SubmitSweepResponse> answer = client->SubmitSweep(*request);
  if (!answer.ok()) return client->ReportFailure(answer.status());
  client.reset();
  SayWhatDiskItTakes(*answer);
  SayNotes(answer->notes());
  const v1::RefreshInfo* const refresh = RefreshOf(*answer);
  std::fprintf(stderr, "%s\n",
               SubmissionText(answer->name(), answer->counts(), refresh,
                              /*was_submitted=*/!answer->created())
                   .c_str());
  if (request->refresh_errors()) {
    SayText(NotRefreshedText(refresh));
  }

  const std::string& sweep = answer->sweep_id();
  if (daemons == nullptr) {
    std::fprintf(stderr, "a service runs on %s already: using it (Ctrl-C detaches)\n",
                 PlaceText(state).c_str());
  }
  if (!answer->others().empty() && !answer->finished()) {
    SayText(Str(daemons == nullptr
                    ? "other unfinished sweeps share the service"
                    : "this sweep goes first; other unfinished sweeps use the slots that it "
                      "leaves free",
                ":\n", OthersText(answer->others())));
  }
  if (daemons != nullptr && !answer->finished()) {
    if (const Status working = daemons->StartWorking(); !working.ok()) return Report(working);
  }
  // The service may belong to another `run` and end with it: then continue with one of our own.
  const auto take_over = [&] {
    if (daemons != nullptr || ServiceRuns(state) || ServiceIsKept(state)) return;
    Result<std::unique_ptr<Daemons>> started =
        Daemons::Start(state, {.cpu_slots = arguments.cpu_slots}, Interrupted);
    if (!started.ok() || !(*started)->StartWorking().ok()) return;  // another command has one
    std::fprintf(stderr, "the service has ended: continuing with a new one\n");
    daemons = std::move(started).value();
  };
  // A task that our own worker cannot do now, it never can: then end, and keep the sweep's last
  // message.
  std::optional<v1::WatchSweepResponse> refused;
  const auto give_up = [&](const v1::WatchSweepResponse& message) {
    if (daemons == nullptr || !NothingFits(message)) return Status();
    refused = message;
    return Status(Code::kFailedPrecondition, "no worker can run the remaining tasks");
  };
  CatchInterrupts();  // before that, a signal ends a command that started no daemons at once
  const Result<v1::WatchSweepResponse> end = FollowSweep(
      state, sweep, {.own = [&] { return daemons.get(); }, .away = take_over, .give_up = give_up});
  if (Interrupted()) {
    if (daemons == nullptr) {
      SayLine(Str("\ndetached: `longrun watch ", sweep, "` shows it again, `longrun cancel ", sweep,
                  "` ends it"));
    } else {
      std::fprintf(stderr, "\n");  // behind the terminal's ^C
      StopAtInterrupt(*daemons, "the same command continues from here");
    }
    return kExitInterrupted;
  }
  if (refused && refused->info().tasks_succeeded() > 0) {
    PrintEnd(*refused, *request, *arguments.output, state);
  }
  if (refused) return ReportUnfit(sweep, state);
  if (!end.ok()) return Report(end.status());
  if (refresh != nullptr) {
    SayText(RefreshOutcomeText(*refresh, end->runs()));
  }
  return PrintEnd(*end, *request, *arguments.output, state);
}

}  // namespace

void AddRun(Verbs& verbs) {
  Verb verb = verbs.AddVerb("run", "submit a sweep, run it on this machine, print the table");
  verb.AddExamples(
      {"longrun run sweep.yaml", R"(longrun run sweep.yaml --set "seed=[1, 2, 3]" -o csv)"});
  auto arguments = std::make_shared<RunArguments>();
  arguments->file = AddSweepFile(verb);
  AddRefreshErrors(verb, *arguments->file);
  arguments->output = AddOutput(verb, TableFormatNames());
  verb.AddArgument("--cpu-slots", arguments->cpu_slots,
                   "trainers to run at once on the CPU (default: one per core)")
      .Between(1, 1024);
  verb.SetRun([&verbs, arguments] { return Run(*arguments, verbs.state); });
}

}  // namespace longrun::client
