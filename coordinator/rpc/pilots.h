// What pilot managers say of the jobs that they keep in a batch system's queue. A job becomes a
// worker once it runs; before that, and after its end, only its manager knows of it. Kept in
// memory: a manager reports every few seconds.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/rpc/call.h"
#include "coordinator/rpc/views.h"
#include "coordinator/scheduler/state.h"
#include "longrun/v1/sweeps.pb.h"

namespace longrun::coordinator {

class PilotBoard {
 public:
  // A manager's newest report replaces its last one.
  // kResourceExhausted: it is a new one, and there are too many.
  Status Put(const v1::PilotInfo& pilot, Instant now);
  // All pilots by name, with the time since their last report. A silent one is dropped after a day.
  std::vector<v1::PilotInfo> List(Instant now);

  // The slots of the newest worker of a pilot that was seen; empty before the first one.
  std::vector<Slot> SlotsOf(const std::string& pilot);
  void NoteSlots(const std::string& pilot, std::vector<Slot> slots);

 private:
  struct Entry {
    v1::PilotInfo info;
    Instant reported_at = 0;
    std::vector<Slot> slots;
  };
  std::mutex mutex_;  // guards pilots_
  std::map<std::string, Entry> pilots_;
};

// What keeps a pilot's jobs from becoming workers.
struct PilotObstacle {
  std::string_view gate;  // like a Gate of the scheduler: JOB_HELD
  std::string text;       // for people
  std::string remedy;     // what ends it
};
// nullopt: nothing does, or one of its jobs runs.
std::optional<PilotObstacle> ObstacleOf(const v1::PilotInfo& pilot);
// The same for a task that waits for such a job: a pilot without an obstacle has its next step.
PilotObstacle NextStepOf(const v1::PilotInfo& pilot);
// Whether it has as many jobs as it may have.
bool IsAtMost(const v1::PilotInfo& pilot);
// "pilot gpu (slurm, gpu)"
std::string PilotText(const v1::PilotInfo& pilot);

// Obstacles to work of which the managers have told.
void AddPilotNotices(PilotBoard& board, Notices* notices);
// Jobs that ended lately although their work was not done.
void AddEndedJobs(PilotBoard& board, Notices* notices);

Status ReportPilot(Call& call, const v1::ReportPilotRequest& request,
                   v1::ReportPilotResponse* response);

}  // namespace longrun::coordinator
