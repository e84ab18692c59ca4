// Predicts how long the rest of a sweep will take from how long similar work took (forecast.h),
// including tasks that have not begun. Running tasks are measured by their own speed, so that the
// first training of a state folder already predicts the others.
//
//   left of a task   likely time of its kind of work * (1 - share done),
//                    or the time that a running task reports, half to twice as long at first
//   of the sweep     max(sum over tasks / slots, largest sum over the tasks of one run)
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/json.h"
#include "coordinator/costs.h"
#include "coordinator/forecast.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/store/reader.h"

namespace longrun::coordinator {

// The time and the tasks that are left of a sweep.
struct Remaining {
  std::optional<Estimate> time = {};    // of all tasks with a known speed; absent if there is none
  std::int64_t tasks_not_measured = 0;  // not in `time`: no similar task was measured yet
  // Not in `time`: no slot can run them now (ReadyClass::unfit), or they wait for such tasks.
  std::int64_t tasks_without_slot = 0;
  std::int64_t slots = 0;  // that share the work: SlotsFor
};

// A watcher keeps this object between two looks. One thread at a time.
class TimeLeft {
 public:
  TimeLeft() = default;
  TimeLeft(const TimeLeft&) = delete;  // open_ points into it
  TimeLeft& operator=(const TimeLeft&) = delete;
  // Called on the core's thread: notes the unfinished tasks and their progress. Predict() does the
  // slow work.
  void Look(const State& state, const std::vector<const Task*>& tasks, Instant now);
  // Predicts from the last look. Returns all zeros if nothing was unfinished. Reads the measured
  // tasks again after a while.
  Result<Remaining> Predict(StoreReader& reader, const std::vector<DatasetRow>& datasets);
  // Work that is not submitted yet, and how long it will take, if known.
  struct New {
    std::string run_key;
    std::string base = {};  // the run whose training it waits for; "": none
    bool is_training = false;
    std::optional<Estimate> time = {};
  };
  // The same, but from the given measured tasks and the running ones, and for the new work too.
  Remaining PredictFrom(std::vector<MeasuredTask> measured, CellCosts& costs,
                        const std::vector<New>& all_new = {});
  bool any_open() const { return !open_.empty(); }
  // Predict() uses the measured tasks that it has read for so long.
  static constexpr std::int64_t kMeasuredMsMax = 10'000;

 private:
  // A group of tasks that take equally long: they agree in kind of work, size of the model,
  // position method, lengths and precision. Their runs may differ, for example, in the seed.
  struct Work {
    TaskKind kind = TaskKind::kTrain;
    Run run;
    double parent_flops = 0;        // of the training that this one continues
    Json evaluation = {};           // evaluate
    std::vector<CellLength> cells;  // evaluate
    std::optional<double> flops = {};
    bool is_costed = false;
  };
  struct Open {
    const Work* work = nullptr;
    std::string run_key;
    std::string base = {};  // as in New
    double share_done = 0;
    std::optional<double> seconds_left = {};  // as reported by the task
    std::string device = {};                  // device of a task that reports its time
    bool has_slot = true;                     // false: see Remaining::tasks_without_slot
    bool run_has_slot = true;                 // false: nor can slots run other tasks of its run
  };
  // An attempt's last report about its own kind of work; reports of validations do not change it.
  struct Said {
    double share_done = 0;
    std::optional<double> seconds_left = {};
  };

  const Work* WorkOf(const State& state, const Task& task);
  Open OpenOf(const State& state, const Task& task, Instant now);

  std::map<std::string, Work> works_;                     // by their distinguishing properties
  std::unordered_map<std::string, const Work*> work_of_;  // by task, for each look
  std::map<std::string, Said> said_;                      // by attempt
  std::vector<Open> open_;
  std::int64_t n_slots_ = 0;
  std::vector<MeasuredTask> measured_;
  std::int64_t measured_ms_ = 0;  // when they were read (boot clock); 0: never
};

}  // namespace longrun::coordinator
