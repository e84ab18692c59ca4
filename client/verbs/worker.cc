// longrun worker rm WORKER: forgets a worker that is gone.
#include "base/str.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/embedded.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

int RemoveOne(const std::string& worker, const std::string& output, const std::string& state) {
  // Not repeated on failure: by then, the worker may have come back as a new one.
  const auto coordinator = Coordinator::ReachToRead(state);
  if (!coordinator.ok()) return Report(coordinator.status());
  const Result<v1::RemoveWorkerResponse> answer = (*coordinator)->connection().RemoveWorker(worker);
  if (!answer.ok()) return Report(answer.status());
  Print(output == "json"
            ? RenderJson(ToJson(*answer))
            : Str("removed worker ", worker, "; if it connects again, it is a new worker\n"));
  return kExitOk;
}

}  // namespace

void AddWorker(Verbs& verbs) {
  Verb worker = verbs.AddVerb("worker", "one worker: rm");
  worker.RequireVerb();
  worker.AddExamples({"longrun worker rm box-1"});
  Verb verb = worker.AddVerb("rm", "forget a worker that will not come back");
  verb.AddExamples({"longrun worker rm box-1"});
  const auto name = std::make_shared<std::string>();
  verb.AddArgument("WORKER", *name, "name of a worker (`longrun workers`)").Required();
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, name, output] { return RemoveOne(*name, *output, verbs.state); });
}

}  // namespace longrun::client
