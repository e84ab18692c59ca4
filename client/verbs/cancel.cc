// longrun cancel SWEEP [--now]: cancels the tasks that no other sweep needs.

#include "base/str.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/retrying_client.h"
#include "client/words/kept_work.h"
#include "client/words/no_service.h"
#include "client/words/nothing_to_do.h"
#include "client/words/render.h"
#include "client/words/submission.h"

namespace longrun::client {
namespace {

// "" if it is not known. A list of sweeps, unlike the sweep itself, needs none of its tasks, whose
// rows may be damaged or huge.
std::string StateOf(const std::string& sweep_id, const Result<v1::ListSweepsResponse>& sweeps) {
  if (!sweeps.ok()) return "";
  for (const v1::SweepInfo& sweep : sweeps->sweeps()) {
    if (sweep.sweep_id() == sweep_id) return sweep.state();
  }
  return "";
}

}  // namespace

void AddCancel(Verbs& verbs) {
  Verb verb = verbs.AddVerb("cancel", "end a sweep; its finished work stays");
  verb.AddExamples({"longrun cancel my-sweep", "longrun cancel my-sweep --now"});
  const auto sweep = std::make_shared<std::string>();
  verb.AddArgument("SWEEP", *sweep, "name or id").Required();
  const auto now = std::make_shared<bool>(false);
  verb.AddFlag("--now", *now, "kill running trainers; without it, they first write a checkpoint");
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, sweep, now, output] {
    RetryingClient client(verbs.state);
    const Result<v1::ListSweepsResponse> before = client.ListSweeps();
    const Result<v1::CancelSweepResponse> answer = client.CancelSweep(*sweep, *now);
    if (!answer.ok()) return Report(answer.status());
    const std::int64_t n_cancelled = answer->tasks_cancelled();
    const std::int64_t n_stopping = answer->tasks_stopping();
    if (n_stopping > 0 && client.coordinator().momentary()) {
      SayLine(TrainersGoOnText(verbs.state));
    }
    Print(*output == "json"
              ? RenderJson(ToJson(*answer))
              : Str("tasks cancelled: ", n_cancelled, ", stopping: ", n_stopping, "\n"));
    const bool is_kept = SayKeptWork(client, answer->sweep_id());
    if (!is_kept && n_cancelled == 0 && n_stopping == 0) {
      const std::string state = StateOf(answer->sweep_id(), before);
      const std::string nothing = state.empty() ? "" : NothingToDo(*sweep, state, "cancel");
      if (!nothing.empty()) SayLine(nothing);
    }
    if (!answer->others().empty()) {
      SayText(Str("this command was for sweep ", answer->sweep_id(),
                  "; other unfinished sweeps have the same name:\n", OthersText(answer->others())));
    }
    return static_cast<int>(kExitOk);
  });
}

}  // namespace longrun::client
