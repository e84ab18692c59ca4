// longrun validate FILE: reports all mistakes of a sweep file; stores nothing.
#include <cstdio>
#include <optional>

#include "base/str.h"
#include "client/claims/sweep_claims.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/retrying_client.h"
#include "client/words/render.h"
#include "client/words/submission.h"
#include "client/words/sweep_file.h"
#include "client/words/waiting_line.h"

namespace longrun::client {
namespace {

std::string ErrorJson(const std::string& file, const Status& status) {
  return RenderJson({{"file", file}, {"error", status.message()}});
}

}  // namespace

void AddValidate(Verbs& verbs) {
  Verb verb = verbs.AddVerb("validate", "check a sweep file");
  verb.AddExamples(
      {"longrun validate sweep.yaml", "longrun validate sweep.yaml --set train.tokens=1M"});
  const auto file = AddSweepFile(verb);
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, file, output] {
    const Result<v1::PlanSweepRequest> request = PlanRequest(*file, verbs.state);
    if (!request.ok()) {
      if (*output == "json") Print(ErrorJson(file->file, request.status()));
      return ReportRequest(request.status());
    }
    RetryingClient client(verbs.state, RetryingClient::NoDatabase::kIsMade);
    std::optional<WaitingLine> waiting(Str("checking ", file->file));
    const Result<v1::PlanSweepResponse> plan = client.PlanSweep(*request);
    const Status status = plan.ok() ? CheckClaims(client, *request) : plan.status();
    waiting.reset();
    if (!status.ok()) {
      if (*output == "json") Print(ErrorJson(file->file, status));
      return client.ReportFailure(status);
    }
    const auto n_runs = plan->runs_size();
    if (PlansNoEvaluation(*plan)) SayLine(EvaluatesNothing(plan->name()));
    Repeated<std::string> notes = plan->notes();
    notes.MergeFrom(plan->dataset_problems());  // no mistakes in the file; `submit` notes them, too
    SayNotes(notes);
    if (*output == "json") {
      Json json = {{"file", file->file}, {"name", plan->name()}, {"runs", n_runs}};
      if (!notes.empty()) json["notes"] = std::vector<std::string>(notes.begin(), notes.end());
      Print(RenderJson(json));
      return static_cast<int>(kExitOk);
    }
    Print(Str(file->file, ": ", Counted(n_runs, "run"), ", no mistakes\n"));
    return static_cast<int>(kExitOk);
  });
}

}  // namespace longrun::client
