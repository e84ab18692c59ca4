// longrun logs THING: what a trainer wrote to its log.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "client/embedded.h"
#include "client/output.h"
#include "client/verb.h"

namespace longrun {

void AddLogs(Verbs& verbs) {
  CLI::App* verb =
      verbs.app->add_subcommand("logs", "the log of a run's, task's or attempt's trainer");
  AddExamples(*verb, {"longrun logs 1f2e3d4c", "longrun logs -f 1f2e3d4c"});
  const auto target = std::make_shared<std::string>();
  const auto follow = std::make_shared<bool>(false);
  verb->add_option("THING", *target, "a run, a task or an attempt (8 digits or more)")->required();
  verb->add_flag("-f,--follow", *follow, "go on until the attempt has ended");
  verb->callback([&verbs, target, follow] {
    verbs.run = [&verbs, target, follow] {
      const auto coordinator = Coordinator::Reach(verbs.state);
      if (!coordinator.ok()) return Report(coordinator.status());
      bool wrote = false;
      const Status status = (*coordinator)
                                ->connection()
                                .Stream("GetLogs", {{"target", *target}, {"follow", *follow}},
                                        [&wrote](const Json& message) {
                                          const auto text = message.at("text").get<std::string>();
                                          wrote = wrote || !text.empty();
                                          Print(text);
                                          return true;
                                        });
      if (status.ok() && !wrote) {
        std::fprintf(stderr,
                     "the log is empty: a trainer writes to it when something is wrong; "
                     "`longrun watch` shows progress\n");
      }
      return status.ok() ? static_cast<int>(kExitOk) : Report(status);
    };
  });
}

}  // namespace longrun
