// longrun submit FILE: submits a sweep to the coordinator. Idempotent.
#include <cstdio>
#include <optional>

#include "base/str.h"
#include "client/claims/sweep_claims.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/retrying_client.h"
#include "client/words/no_service.h"
#include "client/words/render.h"
#include "client/words/submission.h"
#include "client/words/sweep_file.h"
#include "client/words/sweep_view.h"
#include "client/words/waiting_line.h"

namespace longrun::client {
namespace {

int ShowAsItStands(RetryingClient& client, const std::string& sweep) {
  const Result<v1::GetSweepResponse> now = client.GetSweep(sweep);
  return now.ok() ? ShowNow(*now) : Report(now.status());
}

// Without a service nobody works on the sweep: shows it if it is finished; otherwise cannot wait.
int EndWithoutService(RetryingClient& client, const std::string& sweep, bool finished, bool wait) {
  if (!wait) {
    if (!finished) SayLine(kNothingRuns);
    return kExitOk;
  }
  if (finished) return ShowAsItStands(client, sweep);
  return Report(Status(Code::kUnavailable,
                       "--wait: the sweep is stored, but no service is running: start `longrun up` "
                       "and then `longrun watch " +
                           sweep + "`, or use `longrun run`"));
}

}  // namespace

void AddSubmit(Verbs& verbs) {
  Verb verb = verbs.AddVerb("submit", "submit a sweep; submitting it again adds nothing");
  verb.AddExamples({"longrun submit sweep.yaml",
                    "longrun submit sweep.yaml --set train.optimizer.lr=1e-3 --wait"});
  const auto file = AddSweepFile(verb);
  AddRefreshErrors(verb, *file);
  const auto output = AddOutput(verb, {"table", "json"});
  const auto wait = std::make_shared<bool>(false);
  verb.AddFlag("--wait", *wait, "show progress until the sweep has ended (Ctrl-C detaches)");
  verb.SetRun([&verbs, file, output, wait] {
    const Result<v1::SubmitSweepRequest> request = SubmitRequest(*file, verbs.state);
    if (!request.ok()) return ReportRequest(request.status());
    RetryingClient client(verbs.state, RetryingClient::NoDatabase::kIsMade);
    std::optional<WaitingLine> waiting(Str("submitting ", file->file));
    const Status checked = CheckClaims(client, *request);
    const Result<v1::SubmitSweepResponse> answer =
        checked.ok() ? client.SubmitSweep(*request) : Result<v1::SubmitSweepResponse>(checked);
    waiting.reset();
    if (!answer.ok()) return client.ReportFailure(answer.status());
    Print(*output == "json" ? RenderJson(ToJson(*answer))
                            : SubmissionText(answer->name(), answer->counts(), RefreshOf(*answer),
                                             /*was_submitted=*/!answer->created()) +
                                  "\n");
    std::fflush(stdout);  // before the progress, which may take days
    SayNotes(answer->notes());
    const v1::RefreshInfo* const refresh = RefreshOf(*answer);
    if (request->refresh_errors()) {
      SayText(NotRefreshedText(refresh));
    }
    const std::string& sweep = answer->sweep_id();
    const bool finished = answer->finished();
    if (client.coordinator().momentary()) {
      return EndWithoutService(client, sweep, finished, *wait);
    }
    if (!*wait) return static_cast<int>(kExitOk);
    if (finished) return ShowAsItStands(client, sweep);
    CatchInterrupts();
    const Result<v1::WatchSweepResponse> end = FollowSweep(verbs.state, sweep);
    if (!end.ok()) {
      if (Interrupted()) {
        SayLine(Str("\ndetached: `longrun watch ", sweep, "` shows it again"));
        return static_cast<int>(kExitInterrupted);
      }
      return Report(end.status());
    }
    if (refresh != nullptr) {
      SayText(RefreshOutcomeText(*refresh, end->runs()));
    }
    return ShowEnd(*end);
  });
}

}  // namespace longrun::client
