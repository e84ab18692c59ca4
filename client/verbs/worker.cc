// longrun worker rm WORKER: forgets a worker that is gone.
// longrun worker release WORKER: lets its quarantined slots work again.
#include <limits>

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

int Release(const std::string& worker, std::optional<std::int64_t> slot, const std::string& output,
            const std::string& state) {
  v1::ReleaseSlotsRequest request;
  request.set_worker_id(worker);
  if (slot) request.set_slot(static_cast<std::int32_t>(*slot));
  const auto coordinator = Coordinator::ReachToRead(state);
  if (!coordinator.ok()) return Report(coordinator.status());
  const Result<v1::ReleaseSlotsResponse> answer =
      (*coordinator)->connection().ReleaseSlots(request);
  if (!answer.ok()) return Report(answer.status());
  const std::string slots = slot ? Str("slot ", *slot, " of worker ", worker, " gets")
                                 : Str("the quarantined slots of worker ", worker, " get");
  Print(output == "json" ? RenderJson(ToJson(*answer)) : Str(slots, " tasks again\n"));
  return kExitOk;
}

void AddRelease(Verbs& verbs, Verb& worker) {
  Verb verb = worker.AddVerb("release", "give quarantined slots of a worker tasks again");
  verb.AddExamples({"longrun worker release box-1", "longrun worker release box-1 --slot 2"});
  const auto name = std::make_shared<std::string>();
  const auto slot = std::make_shared<std::optional<std::int64_t>>();
  verb.AddArgument("WORKER", *name, "name of a worker (`longrun workers`)").Required();
  verb.AddArgument("--slot", *slot, "only the slot with this number (default: all of them)")
      .Placeholder("N")
      .Between(0, std::numeric_limits<std::int32_t>::max());
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, name, slot, output] { return Release(*name, *slot, *output, verbs.state); });
}

}  // namespace

void AddWorker(Verbs& verbs) {
  Verb worker = verbs.AddVerb("worker", "one worker: release, rm");
  worker.RequireVerb();
  worker.AddExamples({"longrun worker rm box-1"});
  AddRelease(verbs, worker);
  Verb verb = worker.AddVerb("rm", "forget a worker that will not come back");
  verb.AddExamples({"longrun worker rm box-1"});
  const auto name = std::make_shared<std::string>();
  verb.AddArgument("WORKER", *name, "name of a worker (`longrun workers`)").Required();
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, name, output] { return RemoveOne(*name, *output, verbs.state); });
}

}  // namespace longrun::client
