// Plans a submission in the scheduler's current state: the training and measurements that it would
// start, the memory, disk and time that they need, and the problems that would stop them. Stores
// nothing.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/costs.h"
#include "coordinator/forecast.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/store/store.h"
#include "coordinator/time_left.h"
#include "sweeps/sweep.h"

namespace longrun::coordinator {

enum class PlannedTraining {
  kNone,      // the run only evaluates an imported model
  kKnown,     // has succeeded
  kUnderWay,  // runs or waits
  kToDo,
  kFailed,  // has failed and would fail again: the run gets nothing
};
std::string_view PlannedTrainingName(PlannedTraining training);

// One point of the matrix. Work that several points share is counted at the first one.
struct RunPlan {
  PlannedTraining training = PlannedTraining::kToDo;
  std::int64_t parameters = 0;                // a tied head is counted once
  double train_flops = 0;                     // of the run's own steps, without those of its parent
  DeviceKind device_kind = DeviceKind::kCpu;  // for which the memory was computed
  std::int64_t micro_batch = 0;   // sequences, for the largest slot, 1 if none fits; 0: no training
  std::int64_t memory_bytes = 0;  // of a train step at this micro-batch; 0: no training
  std::int64_t disk_bytes = 0;    // of the checkpoints of an unfinished training
  std::int64_t cells_known = 0;   // measured or under way
  std::int64_t cells_under_way = 0;       // part of cells_known
  std::int64_t cells_refreshed = 0;       // part of cells_known: to be measured again
  std::int64_t cells_missing = 0;         // to be measured
  std::int64_t cells_not_applicable = 0;  // part of cells_missing: longer than the method can read
  // Of the cells still to be measured, including those under way; 0 if that of any cell is unknown.
  double evaluate_flops = 0;
  std::int64_t evaluate_memory_bytes = 0;  // of the longest of these cells
  std::optional<Estimate> train_time = {};
  std::optional<Estimate> evaluate_time = {};
};

// A dataset that the work of a sweep reads, and that workers over the network would have to fetch.
struct DatasetTravel {
  std::string name;
  std::string digest;
  std::string folder;          // where it is registered
  std::int64_t n_workers = 0;  // connected ones with a fitting slot that do not have it
};

struct SweepPlan {
  SubmitCounts counts;
  std::vector<RunPlan> runs;          // in the order of Sweep::runs
  double train_flops = 0;             // of all training to do
  double evaluate_flops = 0;          // of all cells to measure
  double under_way_flops = 0;         // of submitted, unfinished work, counted whole
  std::int64_t disk_free_bytes = 0;   // where checkpoints will be stored
  std::optional<Estimate> slot_time;  // of all slots together; known only if that of each part is
  std::optional<Estimate>
      wall_time;       // with all slots that fit; absent if none fits, or if slot_time is absent
  Slots slots;         // that fit
  std::string device;  // its measured tasks predict the times; "": none
  std::vector<std::string> problems;          // what cannot run at present, with the remedy
  std::vector<std::string> dataset_problems;  // those of them that are DatasetProblems()
  std::optional<Remaining> time_left;         // of the whole sweep, if some of it is under way
  std::vector<DatasetTravel> travels;         // by name
};

// What is wrong with a dataset's registered folder, and the remedy; "" if nothing is. A worker that
// has a copy of the dataset does not need the folder; any other worker does. `is_remote`: for a
// caller on another machine, without the folder's path.
std::string DatasetProblem(const DatasetRow& dataset, bool is_remote);

// The same of the datasets that the sweep reads, each with the key that names the dataset.
std::vector<std::string> DatasetProblems(const Sweep& sweep,
                                         const std::vector<DatasetRow>& datasets, bool is_remote);

// Plans one submission: Look(), then Plan(). One thread at a time.
class SubmissionPlanner {
 public:
  // `known_cells`: see SweepSubmitted. `refresh`: those of them to measure again. `sweep` must
  // outlive the planner.
  SubmissionPlanner(const Sweep& sweep, std::map<std::string, std::string> known_cells,
                    std::set<std::string> refresh = {});

  // Called on the core's thread: notes what the state knows about the sweep. Plan() does the rest.
  void Look(const State& state, Instant now, std::int64_t wall_ms);
  // Reads the manifests of the sweep's datasets. `measured`: NewestMeasured for its kind of device.
  // `is_remote`: for a caller on another machine, to whom the problems name no folder.
  SweepPlan Plan(const std::vector<DatasetRow>& datasets, CellCosts& costs,
                 const std::vector<MeasuredTask>& measured, std::int64_t disk_free_bytes,
                 bool is_remote = false);

  // The facts that Look() notes.
  struct Standing {
    SubmitCounts counts;
    Slots slots;
    std::map<std::string, TaskState> trainings;   // by run key; absent: never requested
    std::map<std::string, std::string> failed;    // reasons, for those that would fail again
    std::map<std::string, TaskState> cells;       // of the task that owes or has the cell, by cell
    std::map<std::string, double> parents_flops;  // of a parent's whole training, by run key
    std::map<std::string, Execution> executions;  // of runs that have begun, by run key
    // The datasets of each connected worker over the network that has a fitting slot.
    std::vector<std::set<std::string>> held_datasets;
  };

 private:
  const Sweep& sweep_;
  const std::map<std::string, std::string> known_cells_;
  const std::set<std::string> refresh_;
  Standing standing_;
  TimeLeft left_;
};

}  // namespace longrun::coordinator
