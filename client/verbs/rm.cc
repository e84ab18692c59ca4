// longrun rm SWEEP: removes the sweep; `longrun gc` then removes the data that no other sweep has.

#include "base/str.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/embedded.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

int Remove(const std::string& sweep, const std::string& output, const std::string& state) {
  // Not repeated on failure: by then, another sweep may have the name, or none.
  const auto coordinator = Coordinator::ReachToRead(state);
  if (!coordinator.ok()) return Report(coordinator.status());
  const Result<v1::RemoveSweepResponse> answer = (*coordinator)->connection().RemoveSweep(sweep);
  if (!answer.ok()) return Report(answer.status());
  if (output == "json") {
    Print(RenderJson(ToJson(*answer)));
    return kExitOk;
  }
  Print(Str("removed ", answer->name(), " (", answer->sweep_id(), ")\n"));
  const auto n_left = answer->tasks_left();
  if (n_left > 0) {
    SayLine(Str(Counted(n_left, "task"), " of this sweep ", n_left == 1 ? "is" : "are",
                " in no other sweep, and will be kept until `longrun gc`; if you submit the sweep "
                "again before that, no finished task runs again"));
  }
  for (const v1::SweepInfo& other : answer->others()) {
    SayLine(Str("another sweep has the same name: ", other.sweep_id(), " (", other.state(),
                "); to remove it, too: `longrun rm ", other.sweep_id(), "`"));
  }
  return kExitOk;
}

}  // namespace

void AddRm(Verbs& verbs) {
  Verb verb = verbs.AddVerb("rm", "remove a sweep that has ended");
  verb.AddExamples({"longrun rm my-sweep"});
  const auto sweep = std::make_shared<std::string>();
  verb.AddArgument("SWEEP", *sweep, "name or id").Required();
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, sweep, output] { return Remove(*sweep, *output, verbs.state); });
}

}  // namespace longrun::client
