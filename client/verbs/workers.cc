// longrun workers: the workers, and what each of their slots does.

#include <algorithm>

#include "base/str.h"
#include "base/units.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/retrying_client.h"
#include "client/words/no_service.h"
#include "client/words/render.h"
#include "client/words/sweep_view.h"

namespace longrun::client {

void AddWorkers(Verbs& verbs) {
  Verb verb = verbs.AddVerb("workers", "list workers and their slots");
  verb.AddExamples({"longrun workers", "longrun workers -o json"});
  const auto output = AddOutput(verb, {"table", "json", "csv"});
  verb.SetRun([&verbs, output] {
    RetryingClient client(verbs.state);
    Result<v1::ListWorkersResponse> answer = client.ListWorkers();
    if (!answer.ok()) return Report(answer.status());
    const bool is_offline =
        client.coordinator().momentary() && std::ranges::any_of(answer->workers(), WasAtWork);
    const std::string no_service =
        is_offline ? NoServiceText(answer->workers(), verbs.state) : std::string();
    if (*output == "json") {
      Print(RenderJson(ToJson(answer->workers())));
      if (is_offline) SayLine(no_service);
      return static_cast<int>(kExitOk);
    }
    if (is_offline && *output == "table") ShowInterrupted(*answer);
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
    if (is_offline) SayLine(no_service);
    return static_cast<int>(kExitOk);
  });
}

}  // namespace longrun::client
