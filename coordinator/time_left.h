// Predicts how long the rest of a sweep will take from how long similar work took (forecast.h),
// including tasks that have not begun. Running tasks are measured by their own speed, so that the
// first training of a state folder already predicts the others.
//
//   left of a task   likely time of its kind of work * (1 - share done),
//                    or the time that a running task reports, half to twice as long at first
//   of the sweep     until its last task ends, if the slots that can take its tasks now take them
//                    in the scheduler's order, and the tasks of other sweeps that come before or
//                    between them (slot_schedule.h)
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
#include "coordinator/slot_schedule.h"
#include "coordinator/store/reader.h"

namespace longrun::coordinator {

// The time and the tasks that are left of a sweep.
struct Remaining {
  std::optional<Estimate> time = {};    // of all tasks with a known speed; absent if there is none
  std::int64_t tasks_not_measured = 0;  // not in `time`: no similar task was measured yet
  // Not in `time`: no slot can take them now, or they wait for such tasks.
  std::int64_t tasks_without_slot = 0;
  std::int64_t slots = 0;            // that can take its tasks, now or when they are free
  std::int64_t tasks_of_others = 0;  // in `time`: of other sweeps, and take a slot before its last
  // Of other sweeps, and not in `time` although they may come first: no similar task was measured
  // yet, or there are too many of them.
  std::int64_t tasks_of_others_left_out = 0;
};

// Whether the slots of absent workers count if no worker is connected, and one slot if there is
// none either: a plan says what work would cost, also while no service runs.
enum class LastSlots : std::uint8_t { kLeftOut, kCounted };

// A watcher keeps this object between two looks. One thread at a time.
class TimeLeft {
 public:
  TimeLeft() = default;
  TimeLeft(const TimeLeft&) = delete;  // open_ points into it
  TimeLeft& operator=(const TimeLeft&) = delete;
  // Called on the core's thread: notes the unfinished tasks and their progress. Predict() does the
  // slow work.
  void Look(const State& state, const std::vector<const Task*>& tasks, Instant now,
            std::int64_t wall_ms, LastSlots last_slots = LastSlots::kLeftOut);
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
    // What slots must have, of tasks with these settings: few runs of the same work differ in them.
    struct Class {
      std::optional<Execution> execution = {};
      DeviceChoice device_kind = DeviceChoice::kAny;
      bool activation_checkpointing = false;
      ReadyClass ready = {};
    };
    std::vector<Class> classes = {};
  };
  struct Open {
    const Work* work = nullptr;
    std::string task, run_key;
    ScheduledTask place = {};
    std::string base = {};  // as in New
    double share_done = 0;
    std::optional<double> seconds_left = {};  // as reported by the task
    std::string device = {};                  // device of a task that reports its time
    std::string needs = {};                   // the task that it needs; "": none
    bool has_slot = true;                     // false: see Remaining::tasks_without_slot
    bool run_has_slot = true;                 // false: nor can slots run other tasks of its run
  };
  // An attempt's last report about its own kind of work; reports of validations do not change it.
  struct Said {
    double share_done = 0;
    std::optional<double> seconds_left = {};
  };

  // The slots at the last look, and the tasks that they fit.
  struct Room;

  Work* WorkOf(const State& state, const Task& task);
  std::size_t GroupOf(const State& state, const Task& task, Room& room);
  Open OpenOf(const State& state, const Task& task, Room& room);
  void LookAtOthers(const State& state, Room& room);
  using WholeTimes = std::map<const Work*, std::optional<Estimate>>;
  struct Parts;
  static void AddOpen(const std::vector<Open>& some, const WholeTimes& whole, Parts& parts);
  static void AddNew(const std::vector<New>& all_new, Parts& parts);

  std::map<std::string, Work> works_;               // by their distinguishing properties
  std::unordered_map<std::string, Work*> work_of_;  // by task, for each look
  std::map<std::string, Said> said_;                // by attempt
  std::vector<Open> open_;
  std::vector<Open> others_;  // tasks of other sweeps that may take a slot before the last one
  std::int64_t n_others_more_ = 0;  // and those that were not looked at
  std::size_t n_slots_ = 0;
  std::vector<std::vector<bool>> fits_;  // SlotSchedule::fits, of open_ and others_
  std::vector<MeasuredTask> measured_;
  std::int64_t measured_ms_ = 0;  // when they were read (boot clock); 0: never
};

}  // namespace longrun::coordinator
