// longrun retry SWEEP|RUN: what failed, was skipped or cancelled gets a new round; what succeeded stays.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/str.h"
#include "client/ask.h"
#include "client/output.h"
#include "client/render.h"
#include "client/verb.h"

namespace longrun {

void AddRetry(Verbs& verbs) {
  CLI::App* verb =
      verbs.app->add_subcommand("retry", "try failed and cancelled tasks of a sweep or run again");
  AddExamples(*verb, {"longrun retry my-sweep", "longrun retry 1f2e3d4c"});
  const auto thing = std::make_shared<std::string>();
  verb->add_option("THING", *thing, "a sweep's name or id, or a run's id (8 digits or more)")
      ->required();
  const auto output = AddOutput(*verb, {"table", "json"});
  verb->callback([&verbs, thing, output] {
    verbs.run = [&verbs, thing, output] {
      // Asked twice, the second one finds nothing left to try again.
      Asker asker(verbs.state);
      const Result<Json> answer = asker.Ask("RetryTasks", {{"target", *thing}});
      if (!answer.ok()) return Report(answer.status());
      const auto n = answer->at("tasks_retried").get<std::int64_t>();
      Print(*output == "json" ? RenderJson(*answer) : Str("tasks to try again: ", n, "\n"));
      if (n == 0) {
        std::fprintf(stderr,
                     "nothing of it failed, was skipped or was cancelled: there is nothing to try "
                     "again\n");
      }
      if (n > 0 && asker.coordinator().momentary()) {
        std::fprintf(stderr, "nothing is running: `longrun up` starts the work\n");
      }
      return static_cast<int>(kExitOk);
    };
  });
}

}  // namespace longrun
