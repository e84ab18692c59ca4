// longrun watch SWEEP: live progress; Ctrl-C detaches.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "client/embedded.h"
#include "client/output.h"
#include "client/sweep_view.h"
#include "client/verb.h"

namespace longrun {

void AddWatch(Verbs& verbs) {
  CLI::App* verb = verbs.app->add_subcommand("watch", "live progress of a sweep (Ctrl-C detaches)");
  AddExamples(*verb, {"longrun watch my-sweep"});
  const auto sweep = std::make_shared<std::string>();
  verb->add_option("SWEEP", *sweep, "name or id")->required();
  verb->callback([&verbs, sweep] {
    verbs.run = [&verbs, sweep] {
      const auto coordinator = Coordinator::Reach(verbs.state);
      if (!coordinator.ok()) return Report(coordinator.status());
      CatchInterrupts();
      if ((*coordinator)->momentary()) {
        // Nothing can change: say how it stands and where the work would go on.
        const Result<Json> now = (*coordinator)->connection().Call("GetSweep", {{"sweep", *sweep}});
        if (!now.ok()) return Report(now.status());
        std::fputs(RenderProgress(*now).c_str(), stderr);
        PrintFailures(*now);
        const int code = SweepExitCode(now->at("info"));
        if (code == kExitIncomplete) {
          std::fprintf(stderr, "nothing is running: `longrun up` goes on with it\n");
        }
        return code;
      }
      const Result<Json> end = FollowSweep(verbs.state, *sweep, true);
      if (!end.ok()) {
        if (Interrupted()) {
          std::fprintf(stderr, "\ndetached: `longrun watch %s` comes back\n", sweep->c_str());
          return static_cast<int>(kExitInterrupted);
        }
        return Report(end.status());
      }
      PrintFailures(*end);
      return SweepExitCode(end->at("info"));
    };
  });
}

}  // namespace longrun
