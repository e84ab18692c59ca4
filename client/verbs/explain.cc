// longrun explain PATH, longrun schema: the language of sweep files, from its own tables.
#include "sweeps/explain.h"

#include <CLI/CLI.hpp>

#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/words/render.h"
#include "sweeps/sweep.h"

namespace longrun {

void AddExplain(Verbs& verbs) {
  CLI::App* verb = verbs.app->add_subcommand(
      "explain", "explain a key of the sweep file, a method or a failure class");
  AddExamples(*verb, {"longrun explain train.optimizer.lr", "longrun explain position.cable",
                      "longrun explain failure.lost"});
  const auto path = std::make_shared<std::string>("spec");
  verb->add_option("PATH", *path, "train.optimizer.lr, position.cable, evaluate, failure.lost");
  const auto output = AddOutput(*verb, {"table", "json"});
  verb->callback([&verbs, path, output] {
    verbs.run = [path, output] {
      const Result<Json> explained = Explain(*path);
      if (!explained.ok()) return Report(explained.status());
      Print(*output == "json" ? RenderJson(*explained) : ExplainText(*explained));
      return static_cast<int>(kExitOk);
    };
  });
}

void AddSchema(Verbs& verbs) {
  CLI::App* verb =
      verbs.app->add_subcommand("schema", "JSON Schema of the sweep file, for editors");
  AddExamples(*verb, {"longrun schema"});
  verb->callback([&verbs] {
    verbs.run = [] {
      Print(RenderJson(SweepJsonSchema()));
      return static_cast<int>(kExitOk);
    };
  });
}

}  // namespace longrun
