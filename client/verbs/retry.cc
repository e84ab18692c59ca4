// longrun retry SWEEP|RUN: starts a new round for tasks that failed, were skipped or cancelled;
// succeeded tasks stay.
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <string>
#include <vector>

#include "base/str.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/retrying_client.h"
#include "client/words/no_service.h"
#include "client/words/nothing_to_do.h"
#include "client/words/render.h"
#include "client/words/sweep_view.h"
#include "sweeps/failure.h"

namespace longrun::client {
namespace {

constexpr std::size_t kShown = 8;

// What is to be retried, as it was before: a sweep's state, or "" of a run, and the runs whose
// training diverged.
struct Before {
  std::string state;
  std::vector<std::string> diverged;
  std::string pausing;  // PausingText
};

// Ignores errors: the call that follows reports them.
Before Ask(RetryingClient& client, const std::string& target) {
  Before before;
  Runs runs;
  if (const Result<v1::GetSweepResponse> sweep = client.GetSweep(target); sweep.ok()) {
    before.state = sweep->info().state();
    runs = sweep->runs();
  } else if (const Result<v1::GetRunResponse> run = client.GetRun(target); run.ok()) {
    *runs.Add() = run->run();
  }
  before.pausing = PausingText(target, runs);
  RunNames names(runs);
  for (const v1::RunInfo& run : runs) {
    for (const v1::TaskInfo& task : run.tasks()) {
      if (task.kind() != "train" || !task.failed_for_good()) continue;
      before.diverged.push_back(names.Of(run));
    }
  }
  return before;
}

// Training is deterministic, so these runs would diverge again.
void WarnOfDiverged(const std::vector<std::string>& names) {
  std::vector<std::string> shown(
      names.begin(), names.begin() + static_cast<std::ptrdiff_t>(std::min(names.size(), kShown)));
  if (names.size() > kShown) shown.push_back(Str("and ", names.size() - kShown, " more"));
  std::fprintf(
      stderr,
      "these training runs diverged, and are tried again with the same seed and settings: %s; "
      "%s in the sweep file, and run that file\n",
      Join(shown, ", ").c_str(), std::string(FailureOf(FailureClass::kNumerical).advice).c_str());
}

}  // namespace

void AddRetry(Verbs& verbs) {
  Verb verb = verbs.AddVerb("retry", "retry the failed and cancelled tasks of a sweep or a run");
  verb.AddExamples({"longrun retry my-sweep", "longrun retry 1f2e3d4c"});
  const auto thing = std::make_shared<std::string>();
  verb.AddArgument("THING", *thing, "a sweep's name or id, or a run's id (8 digits or more)")
      .Required();
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, thing, output] {
    // Safe to repeat: a second call finds nothing left to retry.
    RetryingClient client(verbs.state);
    const Before before = Ask(client, *thing);
    const Result<v1::RetryTasksResponse> answer = client.RetryTasks(*thing);
    if (!answer.ok()) return Report(answer.status());
    const auto n = answer->tasks_retried();
    Print(*output == "json" ? RenderJson(ToJson(*answer)) : Str("tasks to try again: ", n, "\n"));
    if (n == 0 && before.state == "CANCELLED") {
      SayLine(Str(*thing,
                  " is no longer cancelled; it takes part again in the tasks that other "
                  "sweeps had kept"));
    } else if (n == 0 && before.state == "PAUSED") {
      SayLine(Str(*thing, " is paused: `longrun resume ", *thing, "` ",
                  before.pausing.empty() ? "continues it" : "lets it try again what failed"));
    } else if (n == 0 && !before.pausing.empty()) {
      SayLine(before.pausing);
    } else if (n == 0) {
      SayLine(
          "none of its tasks failed, was skipped or was cancelled: there is nothing to try again");
    }
    if (n > 0 && !before.diverged.empty()) WarnOfDiverged(before.diverged);
    if ((n > 0 || !before.pausing.empty()) && client.coordinator().momentary()) {
      SayLine(kNothingRuns);
    }
    return static_cast<int>(kExitOk);
  });
}

}  // namespace longrun::client
