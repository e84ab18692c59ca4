// How long the rest of a sweep will take, from how long work like it took (coordinator/forecast.h): also
// of tasks that have not begun. What runs is measured by its own speed, so that the first training of
// a state folder tells how long the others will take.
//
//   left of a task   likely time of its kind of work * (1 - share done); of a running one what it says
//   of the sweep     max(sum over tasks / slots, largest sum over the tasks of one run)
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/json.h"
#include "coordinator/forecast.h"
#include "coordinator/rpc/costs.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/store/reader.h"
#include "longrun/v1/sweeps.pb.h"

namespace longrun {

// Kept between two looks by a watcher. One thread at a time.
class TimeLeft {
 public:
  TimeLeft() = default;
  TimeLeft(const TimeLeft&) = delete;  // what is open points into it
  TimeLeft& operator=(const TimeLeft&) = delete;
  // On the core's thread: what is unfinished, and how far it is. Slow work waits for Fill().
  void Look(const State& state, const std::vector<const Task*>& tasks, Instant now);
  // Of the last look. What has been measured is read again after a while.
  Status Fill(StoreReader& reader, const std::vector<DatasetRow>& datasets, v1::TimeLeft* message);
  // Work that is not asked for yet: how long it will take, where that is known.
  struct New {
    std::string run_key;
    std::optional<Estimate> time = {};
  };
  // The same by these measured tasks, beside those that run, and with what is new.
  void FillBy(std::vector<MeasuredTask> measured, CellCosts& costs, v1::TimeLeft* message,
              const std::vector<New>& all_new = {});
  bool any_open() const { return !open_.empty(); }

 private:
  // Tasks that take equally long: their runs differ in the seed, or in parameters of a position
  // method, at most.
  struct Work {
    TaskKind kind = TaskKind::kTrain;
    Run run;
    double parent_flops = 0;          // of the training that this one goes on from
    Json evaluation = {};             // evaluate
    std::vector<std::int64_t> cells;  // evaluate: the context length of each
    std::optional<double> flops = {};
    bool is_costed = false;
  };
  struct Open {
    const Work* work = nullptr;
    std::string run_key;
    double share_done = 0;
    std::optional<double> seconds_left = {};  // as it says itself
    std::string device = {};                  // of one that says so
  };
  // The last that an attempt said of its work, which a look at the validation split does not change.
  struct Said {
    double share_done = 0;
    std::optional<double> seconds_left = {};
  };

  const Work* WorkOf(const State& state, const Task& task);
  Open OpenOf(const State& state, const Task& task, Instant now);

  std::map<std::string, Work> works_;                     // by what tells them apart
  std::unordered_map<std::string, const Work*> work_of_;  // by task: looked up at each look
  std::map<std::string, Said> said_;                      // by attempt
  std::vector<Open> open_;
  std::int64_t n_slots_ = 0;
  std::vector<MeasuredTask> measured_;
  std::int64_t measured_ms_ = 0;  // when they were read, by the boot clock; 0: never
};

}  // namespace longrun
