// Predicts when the tasks of a sweep will have ended that share slots with the tasks of others: a
// schedule in the scheduler's order (scheduler/place.cc). Whenever a slot is free, it takes the
// first task, in this order, that may start and fits the slot. Pure: no clock, no I/O.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace longrun::coordinator {

// As ReadyClass::Key.
struct ScheduleOrder {
  bool later = false;
  std::int64_t minus_priority = 0;
  bool trains = false;
  std::int64_t ready_seq = 0;  // 0: after all others so far, once it may start
  auto operator<=>(const ScheduleOrder&) const = default;
};

struct ScheduledTask {
  ScheduleOrder order = {};
  bool counts = true;                     // a task of the sweep; false: of others
  bool is_at_work = false;                // it runs already
  std::optional<std::size_t> slot = {};   // where, if that is a slot of the schedule
  std::size_t group = 0;                  // tasks that the same slots fit: SlotSchedule::fits
  double not_before_s = 0;                // from now
  std::optional<std::size_t> needs = {};  // the task that must have ended first
};

struct SlotSchedule {
  std::size_t n_slots = 0;
  std::vector<std::vector<bool>> fits = {};  // by group and slot
  std::vector<ScheduledTask> tasks = {};
};

struct ScheduleEnd {
  double seconds = 0;         // from now, until the last task of the sweep has ended
  std::int64_t n_others = 0;  // that take a slot before the last task of the sweep does
};

// `seconds`: how long each task still runs. Leaves out tasks that no slot fits, and those that need
// such tasks.
ScheduleEnd EndOf(const SlotSchedule& schedule, const std::vector<double>& seconds);

}  // namespace longrun::coordinator
