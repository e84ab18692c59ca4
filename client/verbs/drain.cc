// longrun drain WORKER, longrun undrain WORKER: take a worker out of service, and back.
#include <cstdio>

#include "base/str.h"
#include "base/units.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/retrying_client.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

int DrainOne(const std::string& state, const std::string& worker,
             const std::optional<std::string>& deadline, const std::string& output) {
  v1::DrainWorkerRequest request;
  request.set_worker_id(worker);
  if (deadline) {
    const Result<std::int64_t> deadline_ms = ParseDurationMs(*deadline);
    if (!deadline_ms.ok()) {
      Result<std::int64_t> wrong = deadline_ms;
      return Report(std::move(wrong).status().In("--deadline"));
    }
    request.set_deadline_ms(*deadline_ms);
  }
  RetryingClient client(state);
  const Result<v1::DrainWorkerResponse> answer = client.DrainWorker(request);
  if (!answer.ok()) return Report(answer.status());
  const std::int64_t n_running = answer->tasks_running();
  if (output == "json") {
    Print(RenderJson(ToJson(*answer)));
    return kExitOk;
  }
  std::string text =
      Str("worker ", worker, " gets no new tasks until `longrun undrain ", worker, "`");
  if (n_running == 0) {
    text += "; no task runs on it";
  } else if (!deadline) {
    text += Str("; ", Counted(n_running, "task"), " may finish");
  } else {
    text += Str("; ", Counted(n_running, "task"), " will write a checkpoint and stop within ",
                FormatDurationMs(request.deadline_ms()), ", unless ",
                n_running == 1 ? "it finishes" : "they finish",
                " first, and continue on another worker");
  }
  PrintText(text + "\n");
  if (n_running > 0 && client.coordinator().momentary()) {
    SayLine(Str("no service is running for ", state,
                ", so trainers keep running: `longrun up` starts a service, which carries this "
                "out"));
  }
  return kExitOk;
}

}  // namespace

void AddDrain(Verbs& verbs) {
  Verb verb = verbs.AddVerb("drain", "give a worker no new tasks; with --deadline, stop its tasks");
  verb.AddExamples({"longrun drain box-1", "longrun drain box-1 --deadline 30m"});
  const auto worker = std::make_shared<std::string>();
  const auto deadline = std::make_shared<std::optional<std::string>>();
  verb.AddArgument("WORKER", *worker, "name of a worker (`longrun workers`)").Required();
  verb.AddArgument("--deadline", *deadline,
                   "stop the worker's tasks by then, with a checkpoint: 90s, 30m, 2h (default: "
                   "they may finish)")
      .Placeholder("DURATION");
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, worker, deadline, output] {
    return DrainOne(verbs.state, *worker, *deadline, *output);
  });
}

void AddUndrain(Verbs& verbs) {
  Verb verb = verbs.AddVerb("undrain", "give a drained worker tasks again");
  verb.AddExamples({"longrun undrain box-1"});
  const auto worker = std::make_shared<std::string>();
  verb.AddArgument("WORKER", *worker, "name of a worker (`longrun workers`)").Required();
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, worker, output] {
    RetryingClient client(verbs.state);
    const Result<v1::UndrainWorkerResponse> answer = client.UndrainWorker(*worker);
    if (!answer.ok()) return Report(answer.status());
    Print(*output == "json"       ? RenderJson(ToJson(*answer))
          : answer->was_drained() ? Str("worker ", *worker, " gets tasks again\n")
                                  : Str("worker ", *worker, " was not drained\n"));
    return static_cast<int>(kExitOk);
  });
}

}  // namespace longrun::client
