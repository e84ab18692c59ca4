// longrun ls: all sweeps, newest last.
#include <CLI/CLI.hpp>

#include "base/clock.h"
#include "base/str.h"
#include "client/ask.h"
#include "client/output.h"
#include "client/render.h"
#include "client/verb.h"

namespace longrun {

void AddLs(Verbs& verbs) {
  CLI::App* verb = verbs.app->add_subcommand("ls", "list sweeps");
  AddExamples(*verb, {"longrun ls", "longrun ls -o json"});
  const auto output = AddOutput(*verb, {"table", "json", "csv"});
  verb->callback([&verbs, output] {
    verbs.run = [&verbs, output] {
      const Result<Json> answer = Ask(verbs.state, "ListSweeps", Json::object());
      if (!answer.ok()) return Report(answer.status());
      if (*output == "json") {
        Print(RenderJson(answer->at("sweeps")));
        return static_cast<int>(kExitOk);
      }
      std::vector<std::vector<std::string>> rows;
      for (const Json& sweep : answer->at("sweeps")) {
        rows.push_back(
            {sweep.at("name").get<std::string>(), sweep.at("sweep_id").get<std::string>(),
             sweep.at("state").get<std::string>(), Str(sweep.at("runs").get<std::int64_t>()),
             Str(sweep.at("tasks_succeeded").get<std::int64_t>(), "/",
                 sweep.at("tasks").get<std::int64_t>()),
             Str(sweep.at("tasks_failed").get<std::int64_t>()),
             FormatWallMs(sweep.at("submitted_ms").get<std::int64_t>())});
      }
      const std::vector<std::string> header = {"name", "id",     "state",    "runs",
                                               "done", "failed", "submitted"};
      Print(*output == "csv"
                ? RenderCsv(header, rows)
                : RenderColumns(header,
                                {Align::kLeft, Align::kLeft, Align::kLeft, Align::kRight,
                                 Align::kRight, Align::kRight, Align::kLeft},
                                rows));
      return static_cast<int>(kExitOk);
    };
  });
}

}  // namespace longrun
