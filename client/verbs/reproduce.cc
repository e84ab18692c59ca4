// longrun reproduce RUN: the sweep file that gives the same run.
#include <cstdio>

#include "base/str.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/words/render.h"
#include "client/words/reproduction.h"
#include "client/words/run_of.h"

namespace longrun::client {
namespace {

// Submits the file to the coordinator's check, like `plan`.
int Check(RetryingClient& client, const ReproducedRun& run, bool as_json) {
  v1::PlanSweepRequest request;
  request.set_yaml(run.yaml);
  // The errors have lines and columns of what this command prints.
  request.set_file_name(Str("`longrun reproduce ", ShortId(run.run_key), "`"));
  const Result<v1::PlanSweepResponse> plan = client.PlanSweep(request);
  if (!plan.ok()) return client.ReportFailure(plan.status());
  const std::string& key = plan->runs().at(0).run_key();
  if (key != run.run_key) {
    return Report(
        Status(Code::kFailedPrecondition,
               Str("the file gives run ", key, " on this coordinator, not ", run.run_key)));
  }
  Print(as_json ? RenderJson({{"run", run.run_key}, {"same", true}})
                : Str("the file gives run ", run.run_key, "\n"));
  return kExitOk;
}

int Reproduce(const std::string& thing, bool check, bool as_json, const std::string& state) {
  RetryingClient client(state);
  Result<ReproducedRun> run = ReproduceRun(client, thing);
  if (run.status().code() == Code::kNotFound || run.status().code() == Code::kInvalidArgument) {
    const Result<std::string> key =
        RunOf(client, thing, {.verb = "reproduce"}, NoSuchRun(thing, run.status()));
    run = key.ok() ? ReproduceRun(client, *key) : Result<ReproducedRun>(key.status());
  }
  if (!run.ok()) return client.ReportFailure(run.status());
  for (const std::string& warning : run->warnings) {
    std::fprintf(stderr, "longrun: %s\n", warning.c_str());
  }
  if (check) return Check(client, *run, as_json);
  Print(as_json
            ? RenderJson({{"run", run->run_key}, {"yaml", run->yaml}, {"warnings", run->warnings}})
            : run->yaml);
  return kExitOk;
}

}  // namespace

void AddReproduce(Verbs& verbs) {
  Verb verb = verbs.AddVerb("reproduce", "print a sweep file that gives the same run");
  const auto run = std::make_shared<std::string>();
  const auto check = std::make_shared<bool>(false);
  verb.AddArgument("RUN", *run, "a run's id (8 digits or more), or a sweep that has only one run")
      .Required();
  verb.AddFlag("--check", *check,
               "instead of printing the file, ask the coordinator whether it gives the same run");
  const auto output = AddOutput(verb, {"yaml", "json"});
  verb.AddExamples({"longrun reproduce 3f2a91c0", "longrun reproduce 3f2a91c0 --check"});
  verb.SetRun([&verbs, run, check, output] {
    return Reproduce(*run, *check, *output == "json", verbs.state);
  });
}

}  // namespace longrun::client
