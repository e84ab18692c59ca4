// longrun workers: the workers, and what each of their slots does.

#include <algorithm>
#include <set>
#include <string_view>

#include "base/clock.h"
#include "base/str.h"
#include "base/units.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/pilot/pilot_table.h"
#include "client/verb.h"
#include "client/wire/retrying_client.h"
#include "client/words/labels.h"
#include "client/words/no_service.h"
#include "client/words/render.h"
#include "client/words/sweep_view.h"
#include "sweeps/protocol.h"

namespace longrun::client {

namespace {

// The free space on its folder's disk: "12.3 GiB of 40 GiB", or "70 MiB of 40 GiB, needs 256 MiB";
// "" if it is not known.
std::string DiskText(const v1::WorkerInfo& worker) {
  if (worker.disk_bytes() == 0) return "";
  return Str(FormatBytes(worker.disk_free_bytes()), " of ", FormatBytes(worker.disk_bytes()),
             worker.disk_wanted_bytes() == 0
                 ? ""
                 : Str(", needs ", FormatBytes(worker.disk_wanted_bytes())));
}

// "now", or the time of its last message.
std::string HeardText(const v1::WorkerInfo& worker) {
  static const std::set<std::string_view> connected = {"READY", "DRAINING", "DRAINED"};
  if (connected.contains(worker.state())) return "now";
  return worker.heard_wall_ms() == 0 ? "never" : FormatWallMs(worker.heard_wall_ms());
}

// "in 30min" until a drained worker's tasks have stopped; "now" after that; "wanted" without a
// deadline.
std::string DrainText(const v1::WorkerInfo& worker) {
  if (!worker.drain_wanted()) return "";
  if (!worker.has_drain_left_ms()) return "wanted";
  if (worker.drain_left_ms() == 0) return "now";
  return Str("in ", FormatDurationMs(worker.drain_left_ms()));
}

// The task that a slot runs, or why it runs none.
std::string TaskText(const v1::WorkerInfo& worker, const v1::WorkerDeviceInfo& device) {
  if (!device.task().empty()) return ShortId(device.task());
  if (!device.quarantine_reason().empty()) return "quarantined";
  return worker.disk_wanted_bytes() == 0 ? "" : "disk full";
}

// Of a temporary worker: "slurm 1234, works for 3h 10min"; "" of one that stays.
std::string AllocationText(const v1::WorkerInfo& worker) {
  if (!worker.has_job()) return "";
  const std::string job = worker.job().empty() ? "temporary" : worker.job();
  if (!worker.has_work_left_ms()) return job;
  if (worker.work_left_ms() == 0) return job + ", ends now";
  return Str(job, ", works for ", FormatDurationMs(worker.work_left_ms()));
}

bool SharesArtifacts(const v1::WorkerInfo& worker) {
  return std::ranges::find(worker.capabilities(), kSharedCapability) != worker.capabilities().end();
}

std::string TableOf(const v1::ListWorkersResponse& answer) {
  using enum Align;
  std::vector<std::string> header = {"worker", "host",    "state",    "slot",  "kind",
                                     "name",   "memory",  "task",     "heard", "disk free",
                                     "drain",  "version", "protocol", "labels"};
  std::vector<Align> align = {kLeft, kLeft, kLeft, kRight, kLeft, kLeft,  kRight,
                              kLeft, kLeft, kLeft, kLeft,  kLeft, kRight, kLeft};
  const bool any_temporary = std::ranges::any_of(
      answer.workers(), [](const v1::WorkerInfo& worker) { return worker.has_job(); });
  if (any_temporary) {
    header.emplace_back("allocation");
    align.push_back(kLeft);
  }
  // How artifacts come to a worker is worth a column where some come through a shared folder.
  const bool is_shared = std::ranges::any_of(answer.workers(), SharesArtifacts);
  if (is_shared) {
    header.emplace_back("artifacts");
    align.push_back(kLeft);
  }
  std::vector<std::vector<std::string>> rows;
  for (const v1::WorkerInfo& worker : answer.workers()) {
    for (const v1::WorkerDeviceInfo& device : worker.devices()) {
      rows.push_back({worker.worker_id(), worker.host(), worker.state(), Str(device.index()),
                      device.kind(), device.name(), FormatBytes(device.memory_bytes()),
                      TaskText(worker, device), HeardText(worker), DiskText(worker),
                      DrainText(worker), worker.version(), Str(worker.protocol()),
                      LabelsText(worker.labels())});
      if (any_temporary) rows.back().push_back(AllocationText(worker));
      if (is_shared) rows.back().push_back(SharesArtifacts(worker) ? "shared" : "network");
    }
  }
  return RenderColumns(header, align, rows);
}

std::string CsvOf(const v1::ListWorkersResponse& answer) {
  std::vector<std::vector<std::string>> rows;
  for (const v1::WorkerInfo& worker : answer.workers()) {
    for (const v1::WorkerDeviceInfo& device : worker.devices()) {
      rows.push_back({worker.worker_id(),
                      worker.host(),
                      worker.state(),
                      Str(device.index()),
                      device.kind(),
                      device.name(),
                      FormatBytes(device.memory_bytes()),
                      ShortId(device.task()),
                      Str(worker.heard_wall_ms()),
                      Str(worker.disk_free_bytes()),
                      Str(worker.disk_bytes()),
                      Str(worker.drain_wanted() ? 1 : 0),
                      worker.has_drain_left_ms() ? Str(worker.drain_left_ms()) : "",
                      worker.version(),
                      Str(worker.protocol()),
                      LabelsText(worker.labels()),
                      worker.job(),
                      worker.has_work_left_ms() ? Str(worker.work_left_ms()) : "",
                      device.quarantine_reason(),
                      Str(worker.disk_wanted_bytes())});
    }
  }
  return RenderCsv({"worker",
                    "host",
                    "state",
                    "slot",
                    "kind",
                    "name",
                    "memory",
                    "task",
                    "heard_wall_ms",
                    "disk_free_bytes",
                    "disk_bytes",
                    "drain_wanted",
                    "drain_left_ms",
                    "version",
                    "protocol",
                    "labels",
                    "job",
                    "work_left_ms",
                    "quarantine_reason",
                    "disk_wanted_bytes"},
                   rows);
}

}  // namespace

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
    if (*output == "csv") Print(CsvOf(*answer));
    if (*output != "csv") PrintText(TableOf(*answer));
    if (*output == "table" && !answer->pilots().empty()) {
      Print("\n" + PilotTable(answer->pilots()));
    }
    PrintNotices(answer->notices());
    if (is_offline) SayLine(no_service);
    return static_cast<int>(kExitOk);
  });
}

}  // namespace longrun::client
