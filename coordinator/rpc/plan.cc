// See plan.h.
#include "coordinator/rpc/plan.h"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/files.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/str.h"
#include "base/units.h"
#include "coordinator/forecast.h"
#include "coordinator/rpc/costs.h"
#include "coordinator/rpc/time_left.h"
#include "coordinator/rpc/views.h"
#include "model/data/manifest.h"
#include "model/evaluation/evaluation.h"
#include "model/position/method.h"
#include "sweeps/cost.h"

namespace longrun {
namespace {

constexpr std::size_t kDigitsShown = 8;

// The sum of the times of all work. Known only if each part is.
class Total {
 public:
  void Add(const std::optional<Estimate>& part) {
    if (!part) {
      complete_ = false;
      return;
    }
    sum_.low_s += part->low_s;
    sum_.likely_s += part->likely_s;
    sum_.high_s += part->high_s;
    sum_.n = std::max(sum_.n, part->n);
    sum_.basis = part->basis;
    any_ = true;
  }
  bool known() const { return complete_ && any_; }
  const Estimate& sum() const { return sum_; }

 private:
  Estimate sum_;
  bool complete_ = true;
  bool any_ = false;
};

// What the scheduler's state has on a sweep: everything that is looked up on the core's thread.
struct Standing {
  SubmitCounts counts;
  Slots slots;
  std::map<std::string, TaskState> trainings;   // by run key; absent: never requested
  std::map<std::string, std::string> failed;    // of those that would fail again: why, by run key
  std::map<std::string, TaskState> cells;       // by cell: of the task that owes or has it
  std::map<std::string, double> parents_flops;  // of a parent's whole training, by run key
  std::map<std::string, Execution> executions;  // of runs that have begun, by run key
};

Standing StandingOf(const State& state, const Sweep& sweep,
                    const std::map<std::string, std::string>& known_cells) {
  Standing standing;
  standing.counts = PlanSubmission(state, sweep, known_cells);
  standing.slots = SlotsFor(state, sweep.device_kind);
  for (const PlannedRun& planned : sweep.runs) {
    const auto task = state.tasks.find(TrainTaskKey(planned.run_key));
    if (task != state.tasks.end()) {
      standing.trainings[planned.run_key] = task->second.state;
      if (FailedForGood(state, task->second)) {
        standing.failed[planned.run_key] = task->second.reason;
      }
    }
    if (const auto run = state.runs.find(planned.run_key);
        run != state.runs.end() && run->second.execution) {
      standing.executions[planned.run_key] = *run->second.execution;
    }
    const auto parent = state.runs.find(planned.run.parent);
    if (parent != state.runs.end()) {
      const Run& run = parent->second.run;
      standing.parents_flops[planned.run.parent] = TrainFlops(run.model, run.train);
    }
    for (const PlannedEvaluation& evaluation : planned.evaluations) {
      for (const ExpectedCell& cell : evaluation.cells) {
        const std::string* const owner = OwnerOf(state, known_cells, cell.cell);
        if (owner != nullptr) standing.cells[cell.cell] = state.tasks.at(*owner).state;
      }
    }
  }
  return standing;
}

// The tasks that train the sweep's runs, and those that have or owe its numbers.
std::vector<const Task*> TasksOf(const State& state, const Sweep& sweep,
                                 const std::map<std::string, std::string>& known_cells) {
  std::set<std::string> ids;
  for (const PlannedRun& planned : sweep.runs) {
    ids.insert(TrainTaskKey(planned.run_key));
    for (const PlannedEvaluation& evaluation : planned.evaluations) {
      for (const ExpectedCell& cell : evaluation.cells) {
        const std::string* const owner = OwnerOf(state, known_cells, cell.cell);
        if (owner != nullptr) ids.insert(*owner);
      }
    }
  }
  std::vector<const Task*> tasks;
  for (const std::string& id : ids) {
    const auto task = state.tasks.find(id);
    if (task != state.tasks.end()) tasks.push_back(&task->second);
  }
  return tasks;
}

// The longest text that the position method can read, limited by its table or by its numbers.
std::int64_t LongestRead(const ModelConfig& model) {
  std::int64_t longest = std::numeric_limits<std::int64_t>::max();
  const auto method = FindPositionMethod(model.position.method);
  if (!method.ok()) return longest;
  const ParamResult<TermSpec> terms =
      (*method)->terms(model.position.params, model.attention_shape());
  if (!terms.ok()) return longest;
  if (terms->length_max) longest = *terms->length_max;
  const bool ends = (*method)->has_position_table && terms->input_add &&
                    terms->input_add->beyond == InputAdd::Beyond::kRefuse;
  return ends ? std::min(longest, model.n_positions) : longest;
}

// Whether each window has the full context length; questions from a file are as long as they are.
bool ReadsWholeWindows(const Json& evaluation) {
  const auto what = FindEvaluation(evaluation.begin().key());
  return what.ok() && (*what)->file_param.empty();
}

// Fills the answer run by run, and sums over the runs.
class Planner {
 public:
  Planner(const Standing& standing, const Forecast& forecast, CellCosts& costs,
          const std::map<std::string, std::string>& folders, const Sweep& sweep,
          std::int64_t disk_free_bytes, v1::PlanSweepResponse* response)
      : standing_(standing),
        forecast_(forecast),
        costs_(costs),
        folders_(folders),
        sweep_(sweep),
        slots_(standing.slots),
        memory_bytes_(slots_.memory_bytes > 0 ? slots_.memory_bytes : MachineMemoryBytes()),
        disk_free_bytes_(disk_free_bytes),
        response_(response) {}

  const std::vector<TimeLeft::New>& all_new() const { return all_new_; }

  void Fill() {
    response_->set_name(sweep_.name);
    FillCounts(standing_.counts, response_->mutable_counts());
    response_->set_disk_bytes(standing_.counts.checkpoint_bytes);
    if (slots_.any_worker && slots_.n == 0) {
      response_->add_problems(Str("resources.kind: no known worker has a ", sweep_.device_kind,
                                  " slot: start a worker on a machine that has one"));
    }
    CheckDatasets();
    for (const PlannedRun& planned : sweep_.runs) FillRun(planned, response_->add_runs());
    if (response_->disk_bytes() > disk_free_bytes_) {
      response_->add_problems(Str("disk: the checkpoints that stay need about ",
                                  FormatBytes(response_->disk_bytes()), ", and ",
                                  FormatBytes(disk_free_bytes_),
                                  " are free where the state folder is: free some (`longrun gc`), "
                                  "take a smaller train.checkpoint.keep, or another state folder"));
    }
    response_->set_disk_free_bytes(disk_free_bytes_);
    response_->set_slots_of(std::string(slots_.of));
    response_->set_slots(static_cast<std::int32_t>(slots_.n));
    response_->set_device(forecast_.device());
    if (total_.known()) {
      SetTime(total_.sum(), response_->mutable_slot_time());
      if (slots_.n > 0) SetTime(WallTime(), response_->mutable_wall_time());
    }
  }

 private:
  // A worker prefers its own copy of a dataset; the registered folder is the one that all can use.
  void CheckDatasets() {
    std::set<std::string> names;
    for (const PlannedRun& run : sweep_.runs) names.insert(run.dataset_name);
    for (const std::string& name : names) {
      const auto folder = folders_.find(name);
      if (folder == folders_.end()) continue;
      if (IsMissing(JoinPath(folder->second, kManifestName))) {
        response_->add_problems(
            Str("matrix.dataset: dataset \"", name, "\" is no longer in ", folder->second,
                ": put it back; if it was moved, register its new place: `longrun data register ",
                name, " FOLDER`; or import it again"));
        continue;
      }
      const Status read = ReadManifest(folder->second).status();
      if (read.code() != Code::kDataLoss) continue;  // a worker may still be able to read it
      response_->add_problems(Str("matrix.dataset: dataset \"", name, "\": ", read.message()));
    }
  }

  void FillRun(const PlannedRun& planned, v1::PlannedRunInfo* info) {
    const Run& run = planned.run;
    info->set_run_key(planned.run_key);
    info->set_axes_json(CanonicalJson(planned.axes));
    info->set_dataset(planned.dataset_name);
    info->set_parameters(run.model.ParameterCount());
    info->set_train_flops(FlopsToTrain(run));
    if (run.trains()) {
      const MemoryPath path = PathOf(planned);
      const auto begun = standing_.executions.find(planned.run_key);
      const std::int64_t micro_batch =
          begun != standing_.executions.end()
              ? begun->second.micro_batch
              : AutoMicroBatch(run.model, run.train, memory_bytes_, path);
      info->set_micro_batch(micro_batch);
      info->set_memory_bytes(TrainMemoryBytes(run.model, run.train, micro_batch, path));
    }
    if (const auto failed = standing_.failed.find(planned.run_key);
        failed != standing_.failed.end()) {
      info->set_training("failed");
      if (trainings_.insert(planned.run_key).second) {
        response_->add_problems(
            Str("run ", planned.run_key.substr(0, kDigitsShown),
                ": its training failed before, and would again: ", failed->second));
      }
      return;
    }
    Estimate chain;
    FillTraining(planned, info, chain);
    FillCells(planned, info, chain);
    if (chain.likely_s > longest_.likely_s) longest_ = chain;
  }

  // The run's execution if it has begun, else the one it would get on the largest slot.
  MemoryPath PathOf(const PlannedRun& planned) const {
    MemoryPath path =
        NewRunMemoryPath(planned.run.model, slots_.kind, sweep_.activation_checkpointing);
    const auto begun = standing_.executions.find(planned.run_key);
    if (begun == standing_.executions.end()) return path;
    path.device_kind = begun->second.device_kind;
    path.attention = begun->second.attention;
    return path;
  }

  // FLOPs of only the run's own steps, without its parent's.
  double FlopsToTrain(const Run& run) const {
    const double whole = TrainFlops(run.model, run.train);
    const auto parent = standing_.parents_flops.find(run.parent);
    return parent == standing_.parents_flops.end() ? whole : whole - parent->second;
  }

  void FillTraining(const PlannedRun& planned, v1::PlannedRunInfo* info, Estimate& chain) {
    const Run& run = planned.run;
    if (!run.trains()) {
      info->set_trained(true);
      info->set_training("none");
      return;
    }
    const auto state = standing_.trainings.find(planned.run_key);
    const bool is_there = state != standing_.trainings.end();
    const bool is_known = is_there && state->second == TaskState::kSucceeded;
    const bool is_under_way = is_there && !IsTerminal(state->second);
    info->set_trained(is_known || is_under_way);
    info->set_training(is_known ? "known" : is_under_way ? "under_way" : "to_do");
    if (is_known || !trainings_.insert(planned.run_key).second) return;
    info->set_disk_bytes((sweep_.checkpoint_keep + 1) * CheckpointBytes(run.model));
    if (is_under_way) return;
    response_->set_train_flops(response_->train_flops() + info->train_flops());
    const bool recomputes = sweep_.activation_checkpointing;
    CheckMemory(planned, "training", TrainMemoryBytes(run.model, run.train, 1, PathOf(planned)),
                recomputes ? "a smaller model or a shorter train_length"
                           : "train.activation_checkpointing: true, a smaller model or a shorter "
                             "train_length");
    const auto time = forecast_.Of(TaskKind::kTrain, run, info->train_flops());
    if (time) SetTime(*time, info->mutable_train_time());
    Count(planned.run_key, time, chain);
  }

  void FillCells(const PlannedRun& planned, v1::PlannedRunInfo* info, Estimate& chain) {
    std::set<std::string> known, under_way, missing;
    std::optional<double> flops = 0.0;
    std::set<std::string> not_applicable;
    std::int64_t longest = 0;
    const std::int64_t longest_read = LongestRead(planned.run.model);
    for (const PlannedEvaluation& evaluation : planned.evaluations) {
      const bool whole_windows = ReadsWholeWindows(evaluation.evaluation);
      for (const ExpectedCell& cell : evaluation.cells) {
        if (IsOwned(cell.cell, known, under_way)) continue;
        missing.insert(cell.cell);
        if (whole_windows && cell.context_length > longest_read) not_applicable.insert(cell.cell);
        if (!cells_.insert(cell.cell).second) continue;
        AddFlops(costs_.Flops(planned.run, evaluation.evaluation, cell.context_length), flops);
        longest = std::max(longest, cell.context_length);
      }
    }
    info->set_cells_known(static_cast<std::int32_t>(known.size() + under_way.size()));
    info->set_cells_under_way(static_cast<std::int32_t>(under_way.size()));
    info->set_cells_missing(static_cast<std::int32_t>(missing.size()));
    info->set_cells_not_applicable(static_cast<std::int32_t>(not_applicable.size()));
    if (longest == 0) return;
    info->set_evaluate_flops(flops.value_or(0));
    response_->set_evaluate_flops(response_->evaluate_flops() + info->evaluate_flops());
    info->set_evaluate_memory_bytes(
        EvaluateMemoryBytes(planned.run.model, longest, PathOf(planned)));
    CheckMemory(planned, Str("evaluating at ", longest), info->evaluate_memory_bytes(),
                "a smaller model or shorter context_lengths");
    const auto time = flops ? forecast_.Of(TaskKind::kEvaluate, planned.run, *flops) : std::nullopt;
    if (time) SetTime(*time, info->mutable_evaluate_time());
    Count(planned.run_key, time, chain);
  }

  // Whether a task has the cell, or owes it and has not ended.
  bool IsOwned(const std::string& cell, std::set<std::string>& known,
               std::set<std::string>& under_way) const {
    const auto owner = standing_.cells.find(cell);
    if (owner == standing_.cells.end()) return false;
    const TaskState state = owner->second;
    if (state == TaskState::kSucceeded) known.insert(cell);
    if (!IsTerminal(state)) under_way.insert(cell);
    return state == TaskState::kSucceeded || !IsTerminal(state);
  }

  void CheckMemory(const PlannedRun& planned, const std::string& what, std::int64_t n_bytes,
                   std::string_view smaller) {
    if (slots_.memory_bytes == 0 || n_bytes <= slots_.memory_bytes) return;
    const std::string_view has = slots_.of == "machine"   ? "this machine has "
                                 : slots_.of == "workers" ? "the largest slot has "
                                                          : "the largest slot known had ";
    response_->add_problems(Str("run ", planned.run_key.substr(0, kDigitsShown), ": ", what,
                                " needs about ", FormatBytes(n_bytes), ", and ", has,
                                FormatBytes(slots_.memory_bytes), ": take ", smaller,
                                ", or a worker with more memory"));
  }

  void Count(const std::string& run_key, const std::optional<Estimate>& time, Estimate& chain) {
    total_.Add(time);
    all_new_.push_back({.run_key = run_key, .time = time});
    if (!time) return;
    chain.low_s += time->low_s;
    chain.likely_s += time->likely_s;
    chain.high_s += time->high_s;
  }

  // All slots share the work, but the tasks of one run must follow each other.
  Estimate WallTime() const {
    Estimate wall = total_.sum();
    const auto n = static_cast<double>(slots_.n);
    wall.low_s = std::max(wall.low_s / n, longest_.low_s);
    wall.likely_s = std::max(wall.likely_s / n, longest_.likely_s);
    wall.high_s = std::max(wall.high_s / n, longest_.high_s);
    return wall;
  }

  const Standing& standing_;
  const Forecast& forecast_;
  CellCosts& costs_;
  const std::map<std::string, std::string>& folders_;  // folders of registered datasets, by name
  const Sweep& sweep_;
  const Slots slots_;
  const std::int64_t memory_bytes_;
  const std::int64_t disk_free_bytes_;
  v1::PlanSweepResponse* response_;
  std::set<std::string> trainings_;  // already counted: a sweep may list a run twice
  std::set<std::string> cells_;
  Total total_;
  Estimate longest_;  // run
  std::vector<TimeLeft::New> all_new_;
};

}  // namespace

Status PlanSweep(Core& core, StoreReader& reader, const Sweep& sweep,
                 v1::PlanSweepResponse* response) {
  const std::vector<DatasetRow> datasets = core.datasets();
  CellCosts costs(datasets);
  std::map<std::string, std::string> folders;
  for (const DatasetRow& row : datasets) folders[row.info.name] = row.folder;
  ASSIGN_OR_RETURN(const std::vector<MeasuredTask> measured,
                   NewestMeasured(reader, sweep.device_kind, costs));
  const Forecast forecast(measured);
  ASSIGN_OR_RETURN(const auto known_cells, reader.CellOwners(sweep));
  Standing standing;
  TimeLeft left;
  RETURN_IF_ERROR(core.LookAndWait([&](const State& state) {
    standing = StandingOf(state, sweep, known_cells);
    left.Look(state, TasksOf(state, sweep, known_cells), BootMs());
  }));
  ASSIGN_OR_RETURN(const std::int64_t disk_free_bytes, core.FreeDiskBytes());
  Planner planner(standing, forecast, costs, folders, sweep, disk_free_bytes, response);
  planner.Fill();
  if (left.any_open()) {
    left.FillBy(measured, costs, response->mutable_time_left(), planner.all_new());
  }
  return Status();
}

}  // namespace longrun
