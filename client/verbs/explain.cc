// longrun explain PATH, longrun schema: the language of sweep files, from its own tables.
#include "sweeps/explain.h"

#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/words/render.h"
#include "sweeps/sweep.h"

namespace longrun::client {

void AddExplain(Verbs& verbs) {
  Verb verb =
      verbs.AddVerb("explain", "explain a key of the sweep file, a method or a failure class");
  verb.AddExamples({"longrun explain train.optimizer.lr", "longrun explain position.cable",
                    "longrun explain failure.lost"});
  const auto path = std::make_shared<std::string>("spec");
  verb.AddArgument("PATH", *path,
                   "what to explain, such as train.optimizer.lr, position.cable, evaluate or "
                   "failure.lost (default: spec)");
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([path, output] {
    const Result<Json> explained = Explain(*path);
    if (!explained.ok()) return Report(explained.status());
    Print(*output == "json" ? RenderJson(*explained) : ExplainText(*explained));
    return static_cast<int>(kExitOk);
  });
}

void AddSchema(Verbs& verbs) {
  Verb verb = verbs.AddVerb("schema", "print the JSON Schema of the sweep file, for editors");
  verb.AddExamples({"longrun schema"});
  verb.SetRun([] {
    Print(RenderJson(SweepJsonSchema()));
    return static_cast<int>(kExitOk);
  });
}

}  // namespace longrun::client
