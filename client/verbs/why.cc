// longrun why THING: why tasks of a sweep or a run, or one task, do not run or have failed, and
// what ends that.
#include <algorithm>

#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/retrying_client.h"
#include "client/words/no_service.h"
#include "client/words/render.h"
#include "client/words/task_reasons.h"

namespace longrun::client {
namespace {

int ShowReasons(const std::string& thing, const std::string& output, const std::string& state) {
  RetryingClient client(state);
  Result<v1::GetReasonsResponse> answer = client.GetReasons(thing);
  if (!answer.ok()) return Report(answer.status());
  const bool service_runs = !client.coordinator().momentary();
  const bool is_over = std::ranges::all_of(
      answer->reasons(), [](const v1::TaskReason& reason) { return reason.gate() == "ENDED"; });
  if (!service_runs) SayNoService(state, *answer);
  if (output == "json") {
    Json json = ToJson(*answer);
    json["service_runs"] = service_runs;
    Print(RenderJson(json));
  } else {
    if (!service_runs) ShowInterrupted(*answer);
    PrintText(ReasonsText(*answer));
  }
  if (!service_runs && !is_over) {
    SayLine(NoServiceText(client, state));
  }
  return kExitOk;
}

}  // namespace

void AddWhy(Verbs& verbs) {
  Verb verb =
      verbs.AddVerb("why", "say why tasks do not run or have failed, and how to resolve it");
  verb.AddExamples(
      {"longrun why my-sweep", "longrun why 1f2e3d4c", "longrun why my-sweep -o json"});
  const auto thing = std::make_shared<std::string>();
  verb.AddArgument("THING", *thing,
                   "a sweep's name or id, or the id of a run or a task (8 digits or more)")
      .Required();
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, thing, output] { return ShowReasons(*thing, *output, verbs.state); });
}

}  // namespace longrun::client
