// longrun logs THING: what a trainer wrote to its log.
#include <CLI/CLI.hpp>

#include "client/embedded.h"
#include "client/output.h"
#include "client/verb.h"

namespace longrun {

void AddLogs(Verbs& verbs) {
  CLI::App* verb =
      verbs.app->add_subcommand("logs", "the log of a run's, task's or attempt's trainer");
  const auto target = std::make_shared<std::string>();
  const auto follow = std::make_shared<bool>(false);
  verb->add_option("THING", *target, "a run, a task or an attempt (8 digits or more)")->required();
  verb->add_flag("-f,--follow", *follow, "go on until the attempt has ended");
  verb->callback([&verbs, target, follow] {
    verbs.run = [&verbs, target, follow] {
      const auto coordinator = Coordinator::Reach(verbs.state);
      if (!coordinator.ok()) return Report(coordinator.status());
      const Status status = (*coordinator)
                                ->connection()
                                .Stream("GetLogs", {{"target", *target}, {"follow", *follow}},
                                        [](const Json& message) {
                                          Print(message.at("text").get<std::string>());
                                          return true;
                                        });
      return status.ok() ? static_cast<int>(kExitOk) : Report(status);
    };
  });
}

}  // namespace longrun
