// longrun workers: the workers, and what each of their slots does.

#include "base/str.h"
#include "base/units.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/retrying_client.h"
#include "client/words/render.h"
#include "client/words/sweep_view.h"

namespace longrun {

void AddWorkers(Verbs& verbs) {
  Verb verb = verbs.AddVerb("workers", "list workers and their slots");
  verb.AddExamples({"longrun workers", "longrun workers -o json"});
  const auto output = AddOutput(verb, {"table", "json", "csv"});
  verb.SetRun([&verbs, output] {
    const Result<Json> answer = Call(verbs.state, "ListWorkers", Json::object());
    if (!answer.ok()) return Report(answer.status());
    if (*output == "json") {
      Print(RenderJson(answer->at("workers")));
      return static_cast<int>(kExitOk);
    }
    std::vector<std::vector<std::string>> rows;
    for (const Json& worker : answer->at("workers")) {
      for (const Json& device : worker.at("devices")) {
        rows.push_back({worker.at("worker_id").get<std::string>(),
                        worker.at("host").get<std::string>(), worker.at("state").get<std::string>(),
                        Str(device.at("index").get<std::int64_t>()),
                        device.at("kind").get<std::string>(), device.at("name").get<std::string>(),
                        FormatBytes(device.at("memory_bytes").get<std::int64_t>()),
                        ShortId(device.at("task").get<std::string>())});
      }
    }
    const std::vector<std::string> header = {"worker", "host", "state",  "slot",
                                             "kind",   "name", "memory", "task"};
    Print(*output == "csv"
              ? RenderCsv(header, rows)
              : RenderColumns(header,
                              {Align::kLeft, Align::kLeft, Align::kLeft, Align::kRight,
                               Align::kLeft, Align::kLeft, Align::kRight, Align::kLeft},
                              rows));
    PrintNotices(answer->at("notices"));
    return static_cast<int>(kExitOk);
  });
}

}  // namespace longrun
