// See pilot_table.h.
#include "client/pilot/pilot_table.h"

#include <vector>

#include "base/str.h"
#include "base/units.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

// Whether its manager looks after it: "now", "2min 5s ago", "it was stopped".
std::string ReportedText(const v1::PilotInfo& pilot) {
  if (pilot.stopped()) return "stopped";
  constexpr std::int64_t kNowMs = 60'000;
  return pilot.reported_ms_ago() < kNowMs ? "now"
                                          : Str(FormatDurationMs(pilot.reported_ms_ago()), " ago");
}

}  // namespace

std::string PilotTable(const Repeated<v1::PilotInfo>& pilots) {
  if (pilots.empty()) return "";
  std::vector<std::vector<std::string>> rows;
  for (const v1::PilotInfo& pilot : pilots) {
    const std::string queue = Str(pilot.system(), " ", pilot.queue());
    if (pilot.jobs().empty()) {
      rows.push_back({pilot.name(), queue, ReportedText(pilot), "", "no jobs", "", ""});
    }
    for (const v1::PilotJob& job : pilot.jobs()) {
      rows.push_back({pilot.name(), queue, ReportedText(pilot), job.job(), job.state(),
                      job.worker_id(), job.reason()});
    }
  }
  return RenderColumns({"pilot", "queue", "reported", "job", "state", "worker", "reason"},
                       std::vector<Align>(7, Align::kLeft), rows);
}

}  // namespace longrun::client
