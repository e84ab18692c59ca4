// longrun pause SWEEP, longrun resume SWEEP: let a sweep wait, and go on.
#include "base/str.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/retrying_client.h"
#include "client/words/kept_work.h"
#include "client/words/no_service.h"
#include "client/words/nothing_to_do.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

// The answer about a sweep that has ended: nothing of it runs, as the user wants.
int EndWithoutPause(const v1::SweepInfo& info, const std::string& nothing,
                    const std::string& output) {
  if (output == "json") {
    v1::PauseSweepResponse answer;
    answer.set_sweep_id(info.sweep_id());
    answer.set_name(info.name());
    Print(RenderJson(ToJson(answer)));
  }
  SayLine(nothing);
  return kExitOk;
}

// Whether all tasks of a cancelled sweep have succeeded nevertheless.
bool IsDoneForOthers(RetryingClient& client, const std::string& sweep) {
  const Result<v1::GetSweepResponse> now = client.GetSweep(sweep, /*brief=*/true);
  return now.ok() && now->info().tasks() > 0 &&
         now->info().tasks_succeeded() == now->info().tasks();
}

}  // namespace

void AddPause(Verbs& verbs) {
  Verb verb =
      verbs.AddVerb("pause", "put a sweep on hold; its running tasks stop with a checkpoint");
  verb.AddExamples({"longrun pause my-sweep"});
  const auto sweep = std::make_shared<std::string>();
  verb.AddArgument("SWEEP", *sweep, "name or id").Required();
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, sweep, output] {
    RetryingClient client(verbs.state);
    const Result<v1::PauseSweepResponse> answer = client.PauseSweep(*sweep);
    if (answer.status().code() == Code::kFailedPrecondition) {
      const Result<v1::GetSweepResponse> now = client.GetSweep(*sweep, /*brief=*/true);
      const std::string nothing = now.ok() ? NothingToDo(*sweep, now->info().state(), "pause") : "";
      if (!nothing.empty()) return EndWithoutPause(now->info(), nothing, *output);
    }
    if (!answer.ok()) return Report(answer.status());
    // An earlier request of ours may have paused it, if its answer was lost.
    const bool was_paused = answer->was_paused() && !client.unanswered();
    if (*output == "json") {
      v1::PauseSweepResponse said = *answer;
      said.set_was_paused(was_paused);
      Print(RenderJson(ToJson(said)));
    } else {
      Print(Str(
          was_paused ? Str(answer->name(), " was already paused") : Str("paused ", answer->name()),
          ": tasks waiting: ", answer->tasks_waiting(), ", stopping: ", answer->tasks_stopping(),
          "\n"));
    }
    SayKeptWork(client, answer->sweep_id());
    if (answer->tasks_stopping() > 0 && client.coordinator().momentary()) {
      SayLine(TrainersGoOnText(verbs.state));
    }
    return static_cast<int>(kExitOk);
  });
}

void AddResume(Verbs& verbs) {
  Verb verb = verbs.AddVerb("resume", "continue a paused sweep");
  verb.AddExamples({"longrun resume my-sweep"});
  const auto sweep = std::make_shared<std::string>();
  verb.AddArgument("SWEEP", *sweep, "name or id").Required();
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, sweep, output] {
    RetryingClient client(verbs.state);
    const Result<v1::ResumeSweepResponse> answer = client.ResumeSweep(*sweep);
    if (answer.status().code() == Code::kFailedPrecondition && IsDoneForOthers(client, *sweep)) {
      return Report(
          Status(Code::kFailedPrecondition,
                 Str(*sweep,
                     " was cancelled, but all its tasks have succeeded, for "
                     "other sweeps or before: there is nothing to resume; `longrun table ",
                     *sweep, "` shows the results")));
    }
    if (!answer.ok()) return Report(answer.status());
    std::string nothing;
    if (!answer->was_paused()) {
      const Result<v1::GetSweepResponse> now = client.GetSweep(*sweep, /*brief=*/true);
      if (now.ok()) nothing = NothingToDo(*sweep, now->info().state(), "resume");
    }
    if (*output == "json") {
      Print(RenderJson(ToJson(*answer)));
    } else if (nothing.empty()) {
      Print(answer->was_paused() ? Str("resumed ", answer->name(), "\n")
                                 : Str(answer->name(), " was not paused\n"));
    }
    if (!nothing.empty()) SayLine(nothing);
    if (answer->was_paused() && client.coordinator().momentary()) {
      SayLine(kNothingRuns);
    }
    return static_cast<int>(kExitOk);
  });
}

}  // namespace longrun::client
