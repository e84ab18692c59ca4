// longrun watch SWEEP: live progress; Ctrl-C detaches.
#include <cstdio>

#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/embedded.h"
#include "client/wire/retrying_client.h"
#include "client/words/no_service.h"
#include "client/words/sweep_view.h"

namespace longrun::client {
namespace {

// Prints each message on one line as it comes.
void PrintLine(const Json& message) {
  Print(CanonicalJson(message) + "\n");
  std::fflush(stdout);
}

}  // namespace

void AddWatch(Verbs& verbs) {
  Verb verb = verbs.AddVerb("watch", "show live progress of a sweep (Ctrl-C detaches)");
  verb.AddExamples({"longrun watch my-sweep", "longrun watch my-sweep -o json"});
  const auto sweep = std::make_shared<std::string>();
  verb.AddArgument("SWEEP", *sweep, "name or id").Required();
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, sweep, output] {
    const auto coordinator = Coordinator::ReachToRead(verbs.state);
    if (!coordinator.ok()) return Report(coordinator.status());
    CatchInterrupts();
    if ((*coordinator)->momentary()) {
      // Nothing can change: show the present state, and say how to continue the work.
      RetryingClient client(verbs.state);
      Result<v1::GetSweepResponse> now = client.GetSweep(*sweep);
      if (!now.ok()) return client.ReportFailure(now.status());
      const std::string no_service = NoServiceText(client.coordinator().connection(), verbs.state);
      if (*output == "table") {
        ShowInterrupted(*now);
        return ShowNow(*now, no_service);
      }
      Json json = ToJson(*now);
      json["service_runs"] = false;
      PrintLine(json);
      const int code = SweepExitCode({now->info().state()});
      if (code == kExitIncomplete) SayLine(no_service);
      return code;
    }
    FollowOptions options;
    if (*output == "json") {
      options.show = [](const v1::WatchSweepResponse& message) { PrintLine(ToJson(message)); };
    }
    const Result<v1::WatchSweepResponse> end = FollowSweep(verbs.state, *sweep, options);
    if (!end.ok()) {
      if (Interrupted()) {
        std::fprintf(stderr, "\ndetached: `longrun watch %s` shows it again\n", sweep->c_str());
        return static_cast<int>(kExitInterrupted);
      }
      return Report(end.status());
    }
    return *output == "json" ? SweepExitCode({end->info().state()}) : ShowEnd(*end);
  });
}

}  // namespace longrun::client
