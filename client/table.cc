// longrun table SWEEP: perplexity by context length.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "client/ask.h"
#include "client/output.h"
#include "client/render.h"
#include "client/table_view.h"
#include "client/verb.h"

namespace longrun {

void AddTable(Verbs& verbs) {
  CLI::App* verb = verbs.app->add_subcommand("table", "perplexity by context length");
  AddExamples(*verb, {"longrun table my-sweep", "longrun table my-sweep -o csv"});
  const auto sweep = std::make_shared<std::string>();
  verb->add_option("SWEEP", *sweep, "name or id")->required();
  const auto output = AddOutput(*verb, {"table", "json", "csv"});
  verb->callback([&verbs, sweep, output] {
    verbs.run = [&verbs, sweep, output] {
      const Result<Json> results = Ask(verbs.state, "GetResults", {{"sweep", *sweep}});
      if (!results.ok()) return Report(results.status());
      const Json tables = BuildTables(*results);
      if (*output == "json") {
        Print(RenderJson(tables));
      } else if (*output == "csv") {
        Print(RenderTablesCsv(tables));
      } else if (tables.empty()) {
        std::fprintf(stderr, "%s evaluates nothing: its file has no `evaluate`\n", sweep->c_str());
      } else {
        Print(RenderTables(tables));
      }
      return static_cast<int>(TablesComplete(tables) ? kExitOk : kExitIncomplete);
    };
  });
}

}  // namespace longrun
