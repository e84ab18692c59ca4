// longrun watch SWEEP: live progress; Ctrl-C detaches.
#include <cstdio>
#include <optional>
#include <string>
#include <utility>

#include "base/failpoint.h"
#include "base/str.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/embedded.h"
#include "client/wire/retrying_client.h"
#include "client/words/countdowns.h"
#include "client/words/no_service.h"
#include "client/words/sweep_view.h"

namespace longrun::client {
namespace {

// Prints each message on one line as it comes.
void PrintLine(const Json& message) {
  Print(CanonicalJson(message) + "\n");
  std::fflush(stdout);
}

// While no service runs, nothing can change: shows the present state, says how to continue the
// work, and returns the exit code. Shows nothing and returns null if a service runs by now: the
// coordinator of another command may have ended, and a service may have waited for that.
std::optional<int> ShowWithoutService(const std::string& state, const std::string& sweep,
                                      const std::string& output) {
  Failpoint("watch_without_service");
  RetryingClient client(state);
  const std::string no_service = NoServiceText(client, state);
  Result<v1::GetSweepResponse> now = client.GetSweep(sweep);
  if (!now.ok()) return client.ReportFailure(now.status());
  if (!client.coordinator().momentary()) return std::nullopt;
  if (output == "table") {
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
    if ((*coordinator)->momentary()) {
      if (const auto code = ShowWithoutService(verbs.state, *sweep, *output)) return *code;
    }
    CatchInterrupts();  // until here, a signal ends us and our coordinator at once
    FollowOptions options;
    if (*output == "json") {
      options.show = [said = std::string()](const v1::WatchSweepResponse& message) mutable {
        if (std::string now = WithoutCountdowns(message).SerializeAsString(); now != said) {
          said = std::move(now);
          PrintLine(ToJson(message));
        }
      };
    }
    const Result<v1::WatchSweepResponse> end = FollowSweep(verbs.state, *sweep, options);
    if (!end.ok()) {
      if (Interrupted()) {
        SayLine(Str("\ndetached: `longrun watch ", *sweep, "` shows it again"));
        return static_cast<int>(kExitInterrupted);
      }
      return Report(end.status());
    }
    return *output == "json" ? SweepExitCode({end->info().state()}) : ShowEnd(*end);
  });
}

}  // namespace longrun::client
