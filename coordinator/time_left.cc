// See time_left.h.
#include "coordinator/time_left.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "base/clock.h"
#include "base/str.h"
#include "coordinator/scheduler/step.h"  // what Step() itself asks of slots
#include "sweeps/cost.h"

namespace longrun::coordinator {
namespace {

// An attempt's own speed counts only after this share of its work.
constexpr double kShareMin = 0.02;

// A task that reports its time left extrapolates from what it has done: half as long or twice as
// long at the beginning, and a tenth less or more at the end.
double ReportedWidening(double share_done) {
  return 1.0 + 0.1 / std::sqrt(std::max(share_done, 0.01));
}

// The share of all steps that a training keeps when it resumes from its newest checkpoint.
double ShareOfCheckpoint(const Task& task, const Run& run) {
  if (task.checkpoints.empty() || run.train.steps() <= 0) return 0;
  const auto step = static_cast<double>(task.checkpoints.back().step);
  return std::clamp(step / static_cast<double>(run.train.steps()), 0.0, 1.0);
}

// Whether no slot can run the task, or one of those that it needs.
bool LacksSlot(const State& state, const Task& task) {
  const auto ready = state.index.ready.find(task.ready_class);
  if (ready != state.index.ready.end()) return !ready->second.unfit.empty();
  const auto needed = state.tasks.find(task.needs);
  return needed != state.tasks.end() && LacksSlot(state, needed->second);
}

// Whether some slot could run the READY evaluation if its memory and its cache were large enough.
bool LacksOnlyRoom(const State& state, const Task& task) {
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  for (const auto& [id, worker] : state.workers) {
    if (worker.lost || worker.drain || !CanGetFiles(worker)) continue;
    for (Slot slot : worker.slots) {
      if (worker.quarantined.contains(slot.index)) continue;
      slot.memory_bytes = kMax;
      if (CouldTake(state, task, slot.kind, {slot}, kMax)) return true;
    }
  }
  return false;
}

// Of a task that lacks a slot: whether all others of its run lack one, too. An evaluation of long
// contexts may need more memory than every slot has, and shorter ones of its run need less.
// `known`: of evaluations, by ready class.
bool RunLacksSlot(const State& state, const Task& task, std::map<std::string, bool>& known) {
  const auto ready = state.index.ready.find(task.ready_class);
  if (task.kind == TaskKind::kTrain || ready == state.index.ready.end()) return true;
  const auto [lacks, is_new] = known.try_emplace(task.ready_class, true);
  if (is_new) {
    lacks->second =
        state.silent_datasets.contains(ready->second.dataset_digest) || !LacksOnlyRoom(state, task);
  }
  return lacks->second;
}

// A cancelled trainer only writes its checkpoint.
bool HasWork(const State& state, const Task& task) {
  const bool has_work = task.kind == TaskKind::kTrain || !task.evaluation.is_null();
  return has_work && !IsTerminal(task.state) && !task.cancel_wanted &&
         WhyUnknown(state, task).empty();
}

ScheduleOrder OrderOf(const ReadyClass::Key& key) {
  return {.later = key.later,
          .minus_priority = key.minus_priority,
          .trains = key.trains,
          .ready_seq = key.ready_seq};
}

}  // namespace

struct TimeLeft::Room {
  Room(const State& state, const Moment& moment, LastSlots last)
      : now(moment.now), last_slots(last) {
    for (const auto& [id, worker] : state.workers) {
      const std::optional<std::int64_t> left_ms = TimeForWork(state, worker, moment);
      if (left_ms) AddSlotsOf(worker, *left_ms);
    }
    if (slots.empty() && last == LastSlots::kCounted) {
      for (const auto& [id, worker] : state.workers) {
        if (!worker.drain) AddSlotsOf(worker, kNoEndMs);
      }
    }
    is_any_slot = slots.empty() && last == LastSlots::kCounted;
  }

  void AddSlotsOf(const Worker& worker, std::int64_t left_ms) {
    for (const Slot& slot : worker.slots) {
      if (IsQuarantined(worker, slot)) continue;
      index_of[{worker.id, slot.index}] = slots.size();
      slots.push_back({.worker = &worker, .slot = &slot, .left_ms = left_ms});
    }
  }
  std::size_t GroupOf(const ReadyClass& ready, std::int64_t needs_ms) {
    std::vector<bool> fits(is_any_slot ? 1 : slots.size(), is_any_slot);
    for (std::size_t i = 0; i < slots.size(); ++i) {
      const FreeSlot& at = slots[i];
      fits[i] = at.left_ms > needs_ms && longrun::coordinator::Fits(ready, *at.worker, *at.slot);
    }
    const auto [group, is_new] = groups.try_emplace(std::move(fits), fits_of.size());
    if (is_new) fits_of.push_back(&group->first);
    return group->second;
  }
  bool HasSlotFor(std::size_t group) const {
    return std::ranges::find(*fits_of[group], true) != fits_of[group]->end();
  }
  // From now on, only the slots count that fit a task of the sweep.
  void KeepUsed(const std::vector<Open>& open) {
    std::set<std::size_t> used_groups;
    for (const Open& one : open) {
      if (one.has_slot) used_groups.insert(one.place.group);
    }
    std::size_t n_used = 0;
    for (std::size_t i = 0; i < n_all(); ++i) {
      const bool is_used =
          last_slots == LastSlots::kCounted ||
          std::ranges::any_of(used_groups, [&](std::size_t group) { return (*fits_of[group])[i]; });
      used_as.push_back(is_used ? std::optional(n_used++) : std::nullopt);
    }
  }
  std::size_t n_all() const { return is_any_slot ? 1 : slots.size(); }
  std::size_t n_used() const {
    return static_cast<std::size_t>(
        std::ranges::count_if(used_as, [](const auto& slot) { return slot.has_value(); }));
  }
  // Whether the task of another sweep has, or may get, a slot that counts.
  bool Competes(const ScheduledTask& other) const {
    if (other.is_at_work) return other.slot && used_as[*other.slot];
    for (std::size_t i = 0; i < used_as.size(); ++i) {
      if (used_as[i] && (*fits_of[other.group])[i]) return true;
    }
    return false;
  }
  // SlotSchedule::fits of the slots that count.
  std::vector<std::vector<bool>> Fits() const {
    std::vector<std::vector<bool>> fits;
    for (const std::vector<bool>* const all : fits_of) {
      std::vector<bool>& of_group = fits.emplace_back();
      for (std::size_t i = 0; i < used_as.size(); ++i) {
        if (used_as[i]) of_group.push_back((*all)[i]);
      }
    }
    return fits;
  }

  Instant now = 0;
  LastSlots last_slots;
  std::vector<FreeSlot> slots;  // free or not
  bool is_any_slot = false;     // no worker is known: one slot stands for all that may come
  std::map<std::pair<std::string, std::int64_t>, std::size_t> index_of;    // by worker and slot
  std::map<std::vector<bool>, std::size_t> groups;                         // by the slots that fit
  std::vector<const std::vector<bool>*> fits_of;                           // by group
  std::map<std::pair<const Work*, std::ptrdiff_t>, std::size_t> group_of;  // of Work::classes
  std::vector<std::optional<std::size_t>> used_as;  // by slot: its number among those that count
};

TimeLeft::Work* TimeLeft::WorkOf(const State& state, const Task& task) {
  Work*& known = work_of_[task.id];
  if (known != nullptr) return known;
  const RunRecord& record = state.runs.at(task.run_key);
  const Run& run = record.run;
  const ModelConfig& model = run.model;
  std::string key = Str(EnumName(task.kind), " ", model.position.method, " ",
                        model.ParameterCount(), " ", model.n_layer, " ", run.train.train_length,
                        " ", run.train.tokens, " ", EnumName(run.train.precision), " ", run.parent);
  // What decides which slots fit, and is not seen in the count of parameters.
  for (const std::int64_t n : {model.d_model, model.n_head, model.d_ff, model.body.n_kv_head,
                               model.body.head_dim, model.body.window}) {
    StrAppend(key, Str(" ", n));
  }
  StrAppend(key, model.causal ? " causal" : " all");
  std::vector<CellLength> cells;
  if (task.kind == TaskKind::kEvaluate) {
    std::set<std::string> counted;  // a cell may owe several rows
    for (const ExpectedCell& cell : task.expected_cells) {
      if (counted.insert(cell.cell).second) cells.push_back(LengthOf(cell));
    }
    StrAppend(key, Str(" ", run.dataset_digest, " ", CanonicalJson(task.evaluation)));
    for (const CellLength& length : cells) {
      StrAppend(key, Str(" ", length.context_length, "/", length.prompt_tokens));
    }
  }
  const auto [work, is_new] = works_.try_emplace(key);
  known = &work->second;
  if (!is_new) return known;
  work->second.kind = task.kind;
  work->second.run = run;
  work->second.evaluation = task.evaluation;
  work->second.cells = std::move(cells);
  const auto parent = state.runs.find(run.parent);
  if (parent != state.runs.end()) {
    work->second.parent_flops = TrainFlops(parent->second.run.model, parent->second.run.train);
  }
  return known;
}

// Tasks of the same work differ little in what slots must have: few are compared with every slot.
std::size_t TimeLeft::GroupOf(const State& state, const Task& task, Room& room) {
  if (!task.too_large_for.empty() || task.needs_ms > 0) {
    return room.GroupOf(ClassOf(state, task), task.needs_ms);
  }
  Work& work = *WorkOf(state, task);
  const Execution* const bound = ExecutionOf(state, state.runs.at(task.run_key));
  const auto execution = bound == nullptr ? std::optional<Execution>() : std::optional(*bound);
  const auto is_its = [&](const Work::Class& known) {
    return known.execution == execution && known.device_kind == task.device_kind &&
           known.activation_checkpointing == task.activation_checkpointing;
  };
  auto found = std::ranges::find_if(work.classes, is_its);
  if (found == work.classes.end()) {
    found = work.classes.insert(found, {.execution = execution,
                                        .device_kind = task.device_kind,
                                        .activation_checkpointing = task.activation_checkpointing,
                                        .ready = ClassOf(state, task)});
  }
  const auto [group, is_new] = room.group_of.try_emplace({&work, found - work.classes.begin()});
  if (is_new) group->second = room.GroupOf(found->ready, 0);
  return group->second;
}

TimeLeft::Open TimeLeft::OpenOf(const State& state, const Task& task, Room& room) {
  const RunRecord& record = state.runs.at(task.run_key);
  Open open{.work = WorkOf(state, task),
            .task = task.id,
            .run_key = task.run_key,
            .base = record.run.BaseKey(),
            .needs = task.needs};
  const auto attempt = state.attempts.find(task.attempt);
  const bool is_live = attempt != state.attempts.end() && IsLive(attempt->second.state);
  const bool runs = is_live && IsHeardOf(state, attempt->second.worker, room.now);
  if (runs && attempt->second.progress) {
    const ProgressRecord& progress = *attempt->second.progress;
    const auto of = static_cast<double>(progress.of.value_or(0));
    if (progress.phase == EnumName(task.kind) && of > 0) {
      Said& said = said_[task.attempt];
      said.share_done = std::clamp(static_cast<double>(progress.done.value_or(0)) / of, 0.0, 1.0);
      const auto eta_ms = static_cast<double>(progress.eta_ms.value_or(0));
      said.seconds_left = eta_ms > 0 ? std::optional(eta_ms / 1000) : std::nullopt;
    }
  }
  const auto said = said_.find(task.attempt);
  if (runs && said != said_.end()) {
    open.share_done = said->second.share_done;
    open.seconds_left = said->second.seconds_left;
    if (record.execution) open.device = DeviceName(*record.execution);
  } else if (task.kind == TaskKind::kTrain) {
    open.share_done = ShareOfCheckpoint(task, record.run);
  }
  ScheduledTask& place = open.place;
  place.order = OrderOf(ReadyKey(state, task));
  if (task.state == TaskState::kBlocked) place.order.ready_seq = 0;
  place.group = GroupOf(state, task, room);
  // One that is asked to stop soon waits again.
  place.is_at_work = runs && task.state != TaskState::kStopping;
  if (place.is_at_work) {
    const auto slot = room.index_of.find({attempt->second.worker, attempt->second.device_index});
    if (slot != room.index_of.end()) place.slot = slot->second;
  } else {
    Instant from = std::max(task.not_before, state.place_not_before);
    const auto worker = state.workers.find(is_live ? attempt->second.worker : "");
    const bool is_silent =
        !runs && worker != state.workers.end() && worker->second.last_session != 0;
    if (is_silent) from = std::max(from, LeaseEnd(state, worker->second));  // it keeps the task
    place.not_before_s = static_cast<double>(std::max<Instant>(0, from - room.now)) / 1000;
  }
  open.has_slot = place.is_at_work || (!LacksSlot(state, task) && room.HasSlotFor(place.group));
  return open;
}

void TimeLeft::Look(const State& state, const std::vector<const Task*>& tasks, Instant now,
                    std::int64_t wall_ms, LastSlots last_slots) {
  open_.clear();
  others_.clear();
  n_others_more_ = 0;
  Room room(state, {.now = now, .wall_ms = wall_ms}, last_slots);
  std::vector<const Task*> open_tasks;
  std::unordered_map<std::string_view, std::size_t> index_of;
  for (const Task* const task : tasks) {
    if (!HasWork(state, *task)) continue;
    index_of[task->id] = open_.size();
    open_tasks.push_back(task);
    open_.push_back(OpenOf(state, *task, room));
  }
  std::map<std::string, bool> known;
  for (std::size_t i = 0; i < open_.size(); ++i) {
    Open& open = open_[i];
    const auto next = [&](const Open& of) { return index_of.find(of.needs); };
    for (auto it = next(open); open.has_slot && !open.place.is_at_work && it != index_of.end();
         it = next(open_[it->second])) {
      open.has_slot = open_[it->second].has_slot;
    }
    open.run_has_slot = open.has_slot || !RunLacksSlot(state, *open_tasks[i], known);
  }
  room.KeepUsed(open_);
  LookAtOthers(state, room);
  n_slots_ = room.n_used();
  fits_ = room.Fits();
  for (std::vector<Open>* const some : {&open_, &others_}) {
    for (Open& open : *some) {
      if (open.place.slot) open.place.slot = room.used_as[*open.place.slot];
    }
  }
}

// Those that are at work on a slot that the sweep needs, those that the scheduler places before the
// last task of the sweep, and those that become ready after them.
void TimeLeft::LookAtOthers(const State& state, Room& room) {
  constexpr std::size_t kMax = 2'000;  // the core waits for it
  std::unordered_set<std::string_view> seen;
  std::optional<ScheduleOrder> last;
  std::map<std::string_view, std::int64_t> n_own;  // by class
  for (const Open& open : open_) {
    seen.insert(open.task);
    if (open.place.is_at_work || !open.has_slot) continue;
    ScheduleOrder order = open.place.order;
    if (order.ready_seq == 0) order.ready_seq = std::numeric_limits<std::int64_t>::max();
    last = std::max(last, std::optional(order));
    const std::string& ready_class = state.tasks.at(open.task).ready_class;
    if (!ready_class.empty()) n_own[ready_class] += 1;
  }
  if (room.last_slots == LastSlots::kCounted) {  // what is planned comes after all that waits
    constexpr std::int64_t kLast = std::numeric_limits<std::int64_t>::max();
    last =
        ScheduleOrder{.later = true, .minus_priority = kLast, .trains = true, .ready_seq = kLast};
  }
  if (!last) return;  // its tasks wait for nobody
  const auto add = [&](const std::string& id) {
    const Task& task = state.tasks.at(id);
    if (!seen.insert(task.id).second || !HasWork(state, task) || IsHeld(state, id)) return;
    if (others_.size() >= kMax) {
      n_others_more_ += 1;
      return;
    }
    Open open = OpenOf(state, task, room);
    open.place.counts = false;
    if (open.has_slot && room.Competes(open.place)) others_.push_back(std::move(open));
  };
  for (std::size_t i = 0; i < room.slots.size(); ++i) {
    const auto busy = room.slots[i].worker->busy.find(room.slots[i].slot->index);
    if (!room.used_as[i] || busy == room.slots[i].worker->busy.end()) continue;
    const auto attempt = state.attempts.find(busy->second);
    if (attempt != state.attempts.end() && IsLive(attempt->second.state)) add(attempt->second.task);
  }
  // A run of the sweep may start from one of another sweep.
  for (const Open& open : open_) {
    for (std::string id = open.needs; state.tasks.contains(id); id = state.tasks.at(id).needs) {
      add(id);
    }
  }
  std::vector<std::pair<ScheduleOrder, const std::string*>> waiting;
  for (const auto& [name, ready] : state.index.ready) {
    const bool is_later = ready.tasks.empty() || *last < OrderOf(*ready.tasks.begin());
    if (is_later || !ready.unfit.empty()) continue;
    if (!room.Competes({.group = room.GroupOf(ready, 0)})) continue;
    std::int64_t n_before = 0;
    std::size_t n_found = 0;
    for (const ReadyClass::Key& key : ready.tasks) {
      if (*last < OrderOf(key)) break;
      n_before += 1;
      if (n_found == kMax || seen.contains(key.task)) continue;
      n_found += 1;
      waiting.emplace_back(OrderOf(key), &key.task);
    }
    const auto own = n_own.find(name);
    const std::int64_t n_others = n_before - (own == n_own.end() ? 0 : own->second);
    n_others_more_ += std::max<std::int64_t>(0, n_others - static_cast<std::int64_t>(n_found));
  }
  for (const auto& [until, id] : state.index.waiting) {
    const ScheduleOrder order = OrderOf(ReadyKey(state, state.tasks.at(id)));
    if (order <= *last && waiting.size() < kMax) waiting.emplace_back(order, &id);
  }
  std::ranges::sort(waiting);
  for (const auto& [order, id] : waiting) add(*id);
  // Evaluations of a training, say: they come before trainings that wait.
  for (std::size_t i = 0; i < others_.size(); ++i) {
    const auto dependants = state.index.dependants.find(others_[i].task);
    if (dependants == state.index.dependants.end()) continue;
    for (const std::string& id : dependants->second) add(id);
  }
}

Result<Remaining> TimeLeft::Predict(StoreReader& reader, const std::vector<DatasetRow>& datasets) {
  if (open_.empty()) return Remaining{};
  CellCosts costs(datasets);
  if (measured_ms_ == 0 || BootMs() - measured_ms_ > kMeasuredMsMax) {
    ASSIGN_OR_RETURN(measured_, NewestMeasured(reader, DeviceChoice::kAny, costs));
    measured_ms_ = BootMs();
  }
  return PredictFrom(measured_, costs);
}

// The tasks whose end is predicted, with the time that each still takes.
struct TimeLeft::Parts {
  Remaining remaining;
  SlotSchedule schedule;
  std::vector<Estimate> times = {};  // of schedule.tasks; zero if not known
  bool is_known = false;             // that of some task of the sweep
  std::unordered_map<std::string, std::size_t> index_of = {};  // by task, in schedule.tasks
  std::map<std::string, std::size_t> training_of = {};         // the same by run
  std::set<std::string> runs_without_slot = {};

  void Add(ScheduledTask place, const std::optional<Estimate>& time) {
    is_known = is_known || (place.counts && time);
    remaining.tasks_not_measured += place.counts && !time ? 1 : 0;
    schedule.tasks.push_back(place);
    times.push_back(time.value_or(Estimate()));
  }
  double EndAt(double Estimate::*bound) {
    std::vector<double> seconds;
    for (const Estimate& time : times) seconds.push_back(time.*bound);
    const ScheduleEnd end = EndOf(schedule, seconds);
    if (bound == &Estimate::likely_s) remaining.tasks_of_others = end.n_others;
    return end.seconds;
  }
};

void TimeLeft::AddOpen(const std::vector<Open>& some, const WholeTimes& whole, Parts& parts) {
  for (const Open& open : some) {
    if (!open.has_slot) {
      parts.remaining.tasks_without_slot += 1;
      if (!open.run_has_slot) parts.runs_without_slot.insert(open.run_key);
      continue;
    }
    std::optional<Estimate> time = whole.at(open.work);
    if (open.seconds_left) {
      const double widening = ReportedWidening(open.share_done);
      time = Estimate{.low_s = *open.seconds_left / widening,
                      .likely_s = *open.seconds_left,
                      .high_s = *open.seconds_left * widening,
                      .n = 1,
                      .basis = "itself"};
    } else if (time) {
      const double share = 1 - open.share_done;
      time->low_s *= share;
      time->likely_s *= share;
      time->high_s *= share;
    }
    if (!open.place.counts && !time) {
      parts.remaining.tasks_of_others_left_out += 1;
      continue;
    }
    parts.index_of[open.task] = parts.times.size();
    const bool trains = open.work->kind == TaskKind::kTrain;
    if (trains) parts.training_of[open.run_key] = parts.times.size();
    parts.Add(open.place, time);
  }
}

// Each part of the new work comes after all that waits, on any slot.
void TimeLeft::AddNew(const std::vector<New>& all_new, Parts& parts) {
  SlotSchedule& schedule = parts.schedule;
  if (schedule.n_slots == 0 && !all_new.empty()) {
    schedule.n_slots = 1;
    for (std::vector<bool>& fits : schedule.fits) fits.push_back(false);
  }
  const std::size_t group = schedule.fits.size();
  schedule.fits.emplace_back(schedule.n_slots, true);
  for (const New& one : all_new) {
    std::set<std::string>& without_slot = parts.runs_without_slot;
    if (without_slot.contains(one.run_key) || without_slot.contains(one.base)) {
      without_slot.insert(one.run_key);
      parts.remaining.tasks_without_slot += 1;
      continue;
    }
    ScheduledTask place = {.order = {.later = true,
                                     .minus_priority = std::numeric_limits<std::int64_t>::max(),
                                     .trains = one.is_training},
                           .group = group};
    const auto needed = parts.training_of.find(one.is_training ? one.base : one.run_key);
    if (needed != parts.training_of.end()) place.needs = needed->second;
    if (one.is_training) parts.training_of[one.run_key] = parts.times.size();
    parts.Add(place, one.time);
  }
}

Remaining TimeLeft::PredictFrom(std::vector<MeasuredTask> measured, CellCosts& costs,
                                const std::vector<New>& all_new) {
  for (auto& [key, work] : works_) {
    if (work.is_costed) continue;
    work.is_costed = true;
    work.flops = 0.0;
    if (work.kind == TaskKind::kTrain) {
      work.flops = TrainFlops(work.run.model, work.run.train) - work.parent_flops;
    }
    AddFlops(costs.Flops(work.run, work.evaluation, work.cells), work.flops);
  }
  for (const std::vector<Open>* const some : {&open_, &others_}) {
    for (const Open& open : *some) {
      const Work& work = *open.work;
      if (!open.seconds_left || open.share_done < kShareMin || open.share_done >= 1) continue;
      if (open.device.empty() || !work.flops) continue;
      measured.push_back({.kind = work.kind,
                          .device = open.device,
                          .position = work.run.model.position.method,
                          .shape = ShapeOf(work.run),
                          .flops = *work.flops,
                          .seconds = *open.seconds_left / (1 - open.share_done)});
    }
  }
  const Forecast forecast(measured);
  WholeTimes whole;
  for (const auto& [key, work] : works_) {
    whole[&work] = work.flops ? forecast.Of(work.kind, work.run, *work.flops) : std::nullopt;
  }
  Parts parts{.remaining = {.slots = static_cast<std::int64_t>(n_slots_),
                            .tasks_of_others_left_out = n_others_more_},
              .schedule = {.n_slots = n_slots_, .fits = fits_}};
  AddOpen(open_, whole, parts);
  AddOpen(others_, whole, parts);
  for (const std::vector<Open>* const some : {&open_, &others_}) {
    for (const Open& open : *some) {
      const auto own = parts.index_of.find(open.task);
      const auto needed = parts.index_of.find(open.needs);
      if (own == parts.index_of.end() || needed == parts.index_of.end()) continue;
      parts.schedule.tasks[own->second].needs = needed->second;
    }
  }
  AddNew(all_new, parts);
  if (!parts.is_known) return parts.remaining;
  Estimate end;
  for (const Estimate& time : parts.times) {
    if (time.n > end.n) end = {.n = time.n, .basis = time.basis};
  }
  end.likely_s = parts.EndAt(&Estimate::likely_s);
  // Shorter tasks in another order may end later.
  end.low_s = std::min(end.likely_s, parts.EndAt(&Estimate::low_s));
  end.high_s = std::max(end.likely_s, parts.EndAt(&Estimate::high_s));
  parts.remaining.time = std::move(end);
  return parts.remaining;
}

}  // namespace longrun::coordinator
