// longrun cancel SWEEP: ends what no other sweep refers to.
#include <CLI/CLI.hpp>

#include "base/str.h"
#include "client/ask.h"
#include "client/output.h"
#include "client/render.h"
#include "client/verb.h"

namespace longrun {

void AddCancel(Verbs& verbs) {
  CLI::App* verb = verbs.app->add_subcommand("cancel", "end a sweep; what is done stays");
  AddExamples(*verb, {"longrun cancel my-sweep"});
  const auto sweep = std::make_shared<std::string>();
  verb->add_option("SWEEP", *sweep, "name or id")->required();
  const auto output = AddOutput(*verb, {"table", "json"});
  verb->callback([&verbs, sweep, output] {
    verbs.run = [&verbs, sweep, output] {
      const Result<Json> answer = Ask(verbs.state, "CancelSweep", {{"sweep", *sweep}});
      if (!answer.ok()) return Report(answer.status());
      Print(*output == "json"
                ? RenderJson(*answer)
                : Str("tasks cancelled: ", answer->at("tasks_cancelled").get<std::int64_t>(),
                      ", stopping: ", answer->at("tasks_stopping").get<std::int64_t>(), "\n"));
      return static_cast<int>(kExitOk);
    };
  });
}

}  // namespace longrun
