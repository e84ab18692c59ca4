// See slot_schedule.h. Slots that fit the same groups are one kind, and are only counted: there may
// be thousands.
#include "coordinator/slot_schedule.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <queue>
#include <utility>

namespace longrun::coordinator {
namespace {

class Scheduling {
 public:
  Scheduling(const SlotSchedule& schedule, const std::vector<double>& seconds)
      : tasks_(schedule.tasks), seconds_(seconds), ready_(schedule.fits.size()) {
    std::map<std::vector<bool>, std::size_t> known;
    std::vector<std::size_t> kind_of;
    for (std::size_t slot = 0; slot < schedule.n_slots; ++slot) {
      std::vector<bool> fits;
      for (const std::vector<bool>& of_group : schedule.fits) fits.push_back(of_group[slot]);
      const auto [kind, is_new] = known.try_emplace(std::move(fits), known.size());
      if (is_new) {
        kinds_.push_back(kind->first);
        n_free_.push_back(0);
      }
      kind_of.push_back(kind->second);
      n_free_[kind->second] += 1;
    }
    dependants_.resize(tasks_.size());
    kind_.resize(tasks_.size());
    for (std::size_t i = 0; i < tasks_.size(); ++i) {
      const ScheduledTask& task = tasks_[i];
      n_open_ += task.counts ? 1 : 0;
      if (task.is_at_work) {
        if (task.slot) kind_[i] = kind_of[*task.slot];
        Run(i);
      } else if (task.needs) {
        dependants_[*task.needs].push_back(i);
      } else {
        Await(i);
      }
    }
  }

  ScheduleEnd Carry() {
    while (n_open_ > 0) {
      while (PlaceNext()) {
      }
      if (times_.empty()) break;  // no slot fits what is left
      now_ = times_.top().first;
      while (!times_.empty() && times_.top().first <= now_) {
        const std::size_t i = times_.top().second;
        times_.pop();
        runs_[i] ? End(i) : MakeReady(i);
      }
    }
    const auto is_before = [&](double started) { return started < last_start_; };
    end_.n_others = std::ranges::count_if(others_started_, is_before);
    return end_;
  }

 private:
  using Ready = std::pair<ScheduleOrder, std::size_t>;

  void Run(std::size_t i) {
    runs_[i] = true;
    times_.emplace(now_ + seconds_[i], i);
    if (kind_[i]) n_free_[*kind_[i]] -= 1;
    if (!tasks_[i].counts && kind_[i]) others_started_.push_back(now_);
    if (tasks_[i].counts) last_start_ = now_;
  }
  void Await(std::size_t i) {
    if (tasks_[i].not_before_s <= now_) return MakeReady(i);
    times_.emplace(tasks_[i].not_before_s, i);
  }
  void MakeReady(std::size_t i) {
    ScheduleOrder order = tasks_[i].order;
    if (order.ready_seq == 0) order.ready_seq = next_ready_seq_++;
    ready_[tasks_[i].group].emplace(order, i);
  }
  void End(std::size_t i) {
    if (kind_[i]) n_free_[*kind_[i]] += 1;
    if (tasks_[i].counts) {
      n_open_ -= 1;
      end_.seconds = now_;
    }
    for (const std::size_t dependant : dependants_[i]) Await(dependant);
  }
  std::optional<std::size_t> FreeKindFor(std::size_t group) const {
    for (std::size_t kind = 0; kind < kinds_.size(); ++kind) {
      if (n_free_[kind] > 0 && kinds_[kind][group]) return kind;
    }
    return std::nullopt;
  }
  bool PlaceNext() {
    std::optional<std::size_t> best, best_kind;
    for (std::size_t group = 0; group < ready_.size(); ++group) {
      if (ready_[group].empty()) continue;
      if (best && ready_[*best].top() <= ready_[group].top()) continue;
      const std::optional<std::size_t> kind = FreeKindFor(group);
      if (!kind) continue;
      best = group;
      best_kind = kind;
    }
    if (!best) return false;
    const std::size_t i = ready_[*best].top().second;
    ready_[*best].pop();
    kind_[i] = best_kind;
    Run(i);
    return true;
  }

  const std::vector<ScheduledTask>& tasks_;
  const std::vector<double>& seconds_;
  double now_ = 0;
  std::vector<std::vector<bool>> kinds_;  // of slots: by kind and group
  std::vector<std::int64_t> n_free_;      // by kind
  std::vector<std::vector<std::size_t>> dependants_;
  std::vector<std::optional<std::size_t>> kind_;  // of the slot that the task has
  std::vector<bool> runs_ = std::vector<bool>(tasks_.size());
  // By group, the first one at the top.
  std::vector<std::priority_queue<Ready, std::vector<Ready>, std::greater<>>> ready_;
  // When tasks end, or may start.
  using Time = std::pair<double, std::size_t>;
  std::priority_queue<Time, std::vector<Time>, std::greater<>> times_;
  std::int64_t next_ready_seq_ = std::numeric_limits<std::int64_t>::max() / 2;
  std::int64_t n_open_ = 0;  // of the sweep
  double last_start_ = 0;
  std::vector<double> others_started_;
  ScheduleEnd end_;
};

}  // namespace

ScheduleEnd EndOf(const SlotSchedule& schedule, const std::vector<double>& seconds) {
  return Scheduling(schedule, seconds).Carry();
}

}  // namespace longrun::coordinator
