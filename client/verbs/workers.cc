// longrun workers: the workers, and what each of their slots does.

#include "base/str.h"
#include "base/units.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/retrying_client.h"
#include "client/words/render.h"
#include "client/words/sweep_view.h"

namespace longrun::client {

void AddWorkers(Verbs& verbs) {
  Verb verb = verbs.AddVerb("workers", "list workers and their slots");
  verb.AddExamples({"longrun workers", "longrun workers -o json"});
  const auto output = AddOutput(verb, {"table", "json", "csv"});
  verb.SetRun([&verbs, output] {
    const Result<v1::ListWorkersResponse> answer = RetryingClient(verbs.state).ListWorkers();
    if (!answer.ok()) return Report(answer.status());
    if (*output == "json") {
      Print(RenderJson(ToJson(answer->workers())));
      return static_cast<int>(kExitOk);
    }
    std::vector<std::vector<std::string>> rows;
    for (const v1::WorkerInfo& worker : answer->workers()) {
      for (const v1::WorkerDeviceInfo& device : worker.devices()) {
        rows.push_back({worker.worker_id(), worker.host(), worker.state(), Str(device.index()),
                        device.kind(), device.name(), FormatBytes(device.memory_bytes()),
                        ShortId(device.task())});
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
    PrintNotices(answer->notices());
    return static_cast<int>(kExitOk);
  });
}

}  // namespace longrun::client
