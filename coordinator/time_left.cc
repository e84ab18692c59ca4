// See time_left.h.
#include "coordinator/time_left.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "base/clock.h"
#include "base/str.h"
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

}  // namespace

const TimeLeft::Work* TimeLeft::WorkOf(const State& state, const Task& task) {
  const Work*& known = work_of_[task.id];
  if (known != nullptr) return known;
  const RunRecord& record = state.runs.at(task.run_key);
  const Run& run = record.run;
  const ModelConfig& model = run.model;
  std::string key = Str(EnumName(task.kind), " ", model.position.method, " ",
                        model.ParameterCount(), " ", model.n_layer, " ", run.train.train_length,
                        " ", run.train.tokens, " ", EnumName(run.train.precision), " ", run.parent);
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

TimeLeft::Open TimeLeft::OpenOf(const State& state, const Task& task, Instant now) {
  const RunRecord& record = state.runs.at(task.run_key);
  Open open{.work = WorkOf(state, task),
            .run_key = task.run_key,
            .base = record.run.BaseKey(),
            .has_slot = !LacksSlot(state, task)};
  const auto attempt = state.attempts.find(task.attempt);
  const bool runs = attempt != state.attempts.end() && IsLive(attempt->second.state) &&
                    IsHeardOf(state, attempt->second.worker, now);
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
  return open;
}

void TimeLeft::Look(const State& state, const std::vector<const Task*>& tasks, Instant now) {
  open_.clear();
  std::map<std::string, bool> known;
  for (const Task* const task : tasks) {
    const bool is_read = WhyUnknown(state, *task).empty();
    const bool has_work = task->kind == TaskKind::kTrain || !task->evaluation.is_null();
    // A cancelled trainer only writes its checkpoint.
    if (IsTerminal(task->state) || task->cancel_wanted || !is_read || !has_work) continue;
    open_.push_back(OpenOf(state, *task, now));
    Open& open = open_.back();
    open.run_has_slot = open.has_slot || !RunLacksSlot(state, *task, known);
  }
  n_slots_ = SlotsFor(state, DeviceChoice::kAny).n;
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
  for (const Open& open : open_) {
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
  const Forecast forecast(measured);
  std::map<const Work*, std::optional<Estimate>> whole;
  for (const auto& [key, work] : works_) {
    whole[&work] = work.flops ? forecast.Of(work.kind, work.run, *work.flops) : std::nullopt;
  }
  Remaining remaining{.slots = n_slots_};
  Estimate sum;
  std::map<std::string, Estimate> of_run, of_training;
  std::map<std::string, std::string> base_of;
  const auto add = [](const Estimate& part, double share, Estimate& total) {
    total.low_s += part.low_s * share;
    total.likely_s += part.likely_s * share;
    total.high_s += part.high_s * share;
    total.n = std::max(total.n, part.n);
    total.basis = part.basis;
  };
  std::set<std::string> runs_without_slot;
  for (const Open& open : open_) {
    if (!open.has_slot) {
      remaining.tasks_without_slot += 1;
      if (!open.run_has_slot) runs_without_slot.insert(open.run_key);
      continue;
    }
    std::optional<Estimate> part = whole.at(open.work);
    double share = 1 - open.share_done;
    if (open.seconds_left) {
      const double widening = ReportedWidening(open.share_done);
      part = Estimate{.low_s = *open.seconds_left / widening,
                      .likely_s = *open.seconds_left,
                      .high_s = *open.seconds_left * widening,
                      .n = 1,
                      .basis = "itself"};
      share = 1;
    }
    if (!part) {
      remaining.tasks_not_measured += 1;
      continue;
    }
    add(*part, share, sum);
    add(*part, share, of_run[open.run_key]);
    if (open.work->kind == TaskKind::kTrain) add(*part, share, of_training[open.run_key]);
    base_of[open.run_key] = open.base;
  }
  for (const New& one : all_new) {
    if (runs_without_slot.contains(one.run_key) || runs_without_slot.contains(one.base)) {
      runs_without_slot.insert(one.run_key);
      remaining.tasks_without_slot += 1;
      continue;
    }
    if (!one.time) {
      remaining.tasks_not_measured += 1;
      continue;
    }
    add(*one.time, 1, sum);
    add(*one.time, 1, of_run[one.run_key]);
    if (one.is_training) add(*one.time, 1, of_training[one.run_key]);
    base_of[one.run_key] = one.base;
  }
  if (of_run.empty()) return remaining;
  Estimate longest;
  for (const auto& [run_key, estimate] : of_run) {
    Estimate chain = estimate;
    // The runs that it starts from are trained first.
    for (std::string base = base_of[run_key]; !base.empty(); base = base_of[base]) {
      if (const auto first = of_training.find(base); first != of_training.end()) {
        add(first->second, 1, chain);
      }
    }
    if (chain.likely_s > longest.likely_s) longest = chain;
  }
  const auto n = static_cast<double>(std::max<std::int64_t>(n_slots_, 1));
  sum.low_s = std::max(sum.low_s / n, longest.low_s);
  sum.likely_s = std::max(sum.likely_s / n, longest.likely_s);
  sum.high_s = std::max(sum.high_s / n, longest.high_s);
  remaining.time = std::move(sum);
  return remaining;
}

}  // namespace longrun::coordinator
