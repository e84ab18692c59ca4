// The state as messages for clients. The functions over State run on the core's thread.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "coordinator/access.h"
#include "coordinator/core.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/store/reader.h"
#include "coordinator/time_left.h"
#include "longrun/v1/sweeps.pb.h"

namespace longrun::coordinator {

struct CoordinatorParts;

void FillCounts(const SubmitCounts& counts, v1::SubmitCounts* message);
void FillTime(const Estimate& estimate, v1::TimeEstimate* message);
void FillTimeLeft(const Remaining& remaining, v1::TimeLeft* message);
void FillSweep(const State& state, const SweepRow& sweep, v1::SweepInfo* message);
// Adds the active sweeps other than `sweep_id`. Unless `name` is "", adds only sweeps of that name.
Status FillActive(Core& core, StoreReader& reader, const std::string& name,
                  const std::string& sweep_id,
                  google::protobuf::RepeatedPtrField<v1::SweepInfo>* others);
// `sweep`: the sweep by whose name the user asked for the task; "": not by a sweep.
void FillTask(const State& state, const Task& task, const std::string& sweep, Instant now,
              v1::TaskInfo* message);
// The total time that the task's attempts have run. A live attempt adds the whole seconds until
// `now` while its worker is heard from, else the time until its newest record; nothing if `now` is
// unset.
struct RanTime {
  std::int64_t ms = 0;
  bool is_partial = false;  // some attempts are not counted: a stored row is damaged
};
RanTime RanTimeOf(const State& state, const Task& task, std::optional<Instant> now);
// Sets the sum of these times over the sweep's tasks.
void FillDuration(const State& state, std::optional<Instant> now, v1::SweepInfo* message);
// Adds the runs that this build cannot read, or of which it cannot read a task.
void FillUnknownRuns(const State& state, v1::GetServerInfoResponse* message);
void FillWorker(const State& state, const Worker& worker, Instant now, v1::WorkerInfo* message);
// Notices about obstacles to work: missing workers, trainers that report nothing, a full disk.
using Notices = google::protobuf::RepeatedPtrField<v1::Notice>;
// `of_tasks`: only workers that have one of these; null: all.
void AddMissedWorkers(const State& state, Instant now, std::int64_t wall_ms,
                      const std::set<std::string>* of_tasks, Notices* notices);
void AddQuarantined(const State& state, Notices* notices);
void AddFullWorkerDisks(const State& state, Notices* notices);
void AddQuietTrainers(const State& state, Instant now, std::int64_t wall_ms, Notices* notices);
// Also if it has no room for what a worker wants to send.
void AddFullDisk(const CoordinatorParts& parts, bool is_remote, Notices* notices);
// What a message calls the state folder: to a caller on another machine, without its path.
std::string StateFolderName(const Core& core, bool is_remote);
// Leaves out the workers that are connected: others were refused that use their names.
void LeaveOutConnected(const State& state, RefusedWorkers& refused);
void AddRefusedWorkers(const RefusedWorkers& refused, Notices* notices);
// Workers that were given a shared folder and do not use it.
void AddUnsharedWorkers(const State& state, Notices* notices);
// What a sweep's view says of the workers and of obstacles.
void FillSurroundings(const State& state, const std::string& sweep_id, Instant now,
                      v1::WatchSweepResponse* message);

// A sweep in its current state: for GetSweep, and repeatedly for watchers, which share this object
// and keep it between two looks (watched_sweep.h). One thread at a time.
class SweepView {
 public:
  // Durations of live attempts change every second, and a watcher would get a message for each
  // change.
  enum class Durations { kOfEndedOnly, kAlsoOfLive };
  // Showing losses costs one read for each curve.
  enum class Losses { kShown, kLeftOut };
  SweepView(Core& core, SweepRow sweep, Durations durations, Losses losses)
      : core_(core), sweep_(std::move(sweep)), durations_(durations), losses_(losses) {}
  const SweepRow& sweep() const { return sweep_; }

  // Fills info, runs (without run_json), workers, notices (without that of a full disk) and the
  // time left; `finished` if every task is terminal.
  Status Fill(StoreReader& reader, v1::WatchSweepResponse* message);
  const std::vector<SweepRunRow>& runs() const { return runs_; }
  // Frees what no message shows; runs() then has no run_json.
  void ForgetRunJson();
  // The lengths that the first Fill() found.
  const StoreReader::LengthsByTask& lengths() const { return lengths_; }

 private:
  struct Tail {
    std::string as_of;  // the attempts and the number of records when it was read
    std::vector<float> losses;
    std::int64_t step = 0;  // of the last loss
  };

  Core& core_;
  SweepRow sweep_;
  Durations durations_;
  Losses losses_;
  TimeLeft time_left_;
  std::vector<SweepRunRow> runs_;
  bool may_grow_ = false;  // runs_ may lack some: the sweep was still being submitted
  StoreReader::LengthsByTask lengths_;
  bool looked_for_lost_ = false;
  std::vector<std::size_t> without_execution_;  // of runs_: those that had none when last looked at
  std::map<std::string, Tail> tails_;           // by task
};

}  // namespace longrun::coordinator
