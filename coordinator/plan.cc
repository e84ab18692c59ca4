// See plan.h.
#include "coordinator/plan.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "base/files.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/str.h"
#include "base/units.h"
#include "model/data/dataset_files.h"
#include "model/data/manifest.h"
#include "model/evaluation/evaluation.h"
#include "model/evaluation/params.h"
#include "model/position/method.h"
#include "sweeps/cost.h"
#include "sweeps/evaluated_dataset.h"

namespace longrun::coordinator {
namespace {

constexpr std::size_t kDigitsShown = 8;

const std::string& DatasetNameOf(const DatasetRow& row) { return row.info.name; }

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

using Standing = SubmissionPlanner::Standing;

Standing StandingOf(const State& state, const Sweep& sweep,
                    const std::map<std::string, std::string>& known_cells) {
  Standing standing;
  standing.counts = PlanSubmission(state, sweep, known_cells);
  standing.slots = SlotsFor(state, sweep.device_kind);
  for (const auto& [id, worker] : state.workers) {
    if (!worker.over_network || !TakesWork(worker)) continue;
    const auto fits = [&](const Slot& slot) { return Admits(sweep.device_kind, slot.kind); };
    if (std::ranges::any_of(worker.slots, fits)) {
      standing.held_datasets.push_back(worker.dataset_digests);
    }
  }
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
  return what.ok() && (*what)->files.empty();
}

// Makes the plan run by run, and sums over the runs.
class PlanMaker {
 public:
  PlanMaker(const Standing& standing, const Forecast& forecast, CellCosts& costs,
            const std::vector<DatasetRow>& datasets, const Sweep& sweep,
            const std::set<std::string>& refresh, std::int64_t disk_free_bytes, bool is_remote)
      : standing_(standing),
        is_remote_(is_remote),
        forecast_(forecast),
        costs_(costs),
        datasets_(datasets),
        sweep_(sweep),
        refresh_(refresh),
        slots_(standing.slots),
        memory_bytes_(slots_.memory_bytes > 0 || slots_.any_worker ||
                              slots_.kind == DeviceKind::kGpu
                          ? slots_.memory_bytes
                          : MachineMemoryBytes()) {
    plan_.counts = standing.counts;
    plan_.disk_free_bytes = disk_free_bytes;
    plan_.slots = slots_;
    plan_.device = forecast.device();
  }

  const std::vector<TimeLeft::New>& all_new() const { return all_new_; }

  SweepPlan Make() {
    plan_.dataset_problems = DatasetProblems(sweep_, datasets_, is_remote_);
    plan_.problems = plan_.dataset_problems;
    for (const PlannedRun& planned : sweep_.runs) {
      plan_.runs.push_back(PlanRun(planned));
      if (HasWork(plan_.runs.back())) NoteRead(planned);
    }
    if (slots_.any_worker && slots_.n == 0 && std::ranges::any_of(plan_.runs, &HasWork)) {
      plan_.problems.insert(
          plan_.problems.begin(),
          Str("resources.kind: no known worker has a ", EnumName(sweep_.device_kind), " slot",
              step_bytes_max_ == 0 ? ""
                                   : Str("; training with micro-batch ", step_micro_batch_,
                                         " needs one of at least ", FormatBytes(step_bytes_max_)),
              ": start a worker on a machine that has one"));
    }
    for (const auto& [name, digest] : read_) PlanTravel(name, digest);
    CheckDisk();
    if (total_.known()) {
      plan_.slot_time = total_.sum();
      if (slots_.n > 0) plan_.wall_time = WallTime();
    }
    return std::move(plan_);
  }

 private:
  void AddProblem(std::string problem) { plan_.problems.push_back(std::move(problem)); }

  static bool HasWork(const RunPlan& plan) {
    return plan.training == PlannedTraining::kToDo || plan.training == PlannedTraining::kUnderWay ||
           plan.cells_missing + plan.cells_under_way + plan.cells_refreshed > 0;
  }

  void NoteRead(const PlannedRun& planned) {
    read_.emplace(planned.dataset_name, planned.run.dataset_digest);
    for (const PlannedEvaluation& evaluation : planned.evaluations) {
      const auto read = EvaluatedDatasetOf(evaluation.evaluation);
      if (read) read_.emplace(read->name, read->digest);
    }
  }

  void PlanTravel(const std::string& name, const std::string& digest) {
    const auto dataset = std::ranges::find(datasets_, name, &DatasetNameOf);
    if (dataset == datasets_.end()) return;
    const std::int64_t n_workers = std::ranges::count_if(
        standing_.held_datasets,
        [&](const std::set<std::string>& held) { return !held.contains(digest); });
    if (n_workers == 0) return;
    plan_.travels.push_back(
        {.name = name, .digest = digest, .folder = dataset->folder, .n_workers = n_workers});
  }

  void CheckDisk() {
    const std::int64_t n_bytes = plan_.counts.checkpoint_bytes;
    if (n_bytes <= plan_.disk_free_bytes) return;
    AddProblem(Str(
        "disk: the checkpoints that are kept need about ", FormatBytes(n_bytes), ", but only ",
        FormatBytes(plan_.disk_free_bytes),
        " are free on the disk of the state folder: free some space (`longrun gc`), use a smaller "
        "train.checkpoint.keep, or choose another state folder"));
  }

  RunPlan PlanRun(const PlannedRun& planned) {
    const Run& run = planned.run;
    RunPlan plan{.parameters = run.model.ParameterCount(), .train_flops = FlopsToTrain(run)};
    const MemoryPath path = PathOf(planned);
    plan.device_kind = path.device_kind;
    if (run.trains()) {
      const auto begun = standing_.executions.find(planned.run_key);
      plan.micro_batch = begun != standing_.executions.end()
                             ? begun->second.micro_batch
                             : AutoMicroBatch(run.model, run.train, memory_bytes_, path);
      plan.memory_bytes = TrainMemoryBytes(run.model, run.train, plan.micro_batch, path);
    }
    if (const auto failed = standing_.failed.find(planned.run_key);
        failed != standing_.failed.end()) {
      plan.training = PlannedTraining::kFailed;
      if (trainings_.insert(planned.run_key).second) {
        AddProblem(Str("run ", planned.run_key.substr(0, kDigitsShown),
                       ": its training failed before, and would fail again: ", failed->second));
      }
      return plan;
    }
    Estimate chain;
    if (const auto base = chains_.find(run.BaseKey()); base != chains_.end()) chain = base->second;
    PlanTraining(planned, plan, chain);
    chains_[planned.run_key] = chain;
    PlanCells(planned, plan, chain);
    if (chain.likely_s > longest_.likely_s) longest_ = chain;
    return plan;
  }

  // The run's execution if it has begun, else the one it would get on the largest slot.
  MemoryPath PathOf(const PlannedRun& planned) const {
    const auto begun = standing_.executions.find(planned.run_key);
    if (begun != standing_.executions.end()) {
      return BegunRunMemoryPath(begun->second, sweep_.activation_checkpointing);
    }
    const Run& run = planned.run;
    MemoryPath path = NewRunMemoryPath(run.model, slots_.kind, sweep_.activation_checkpointing,
                                       slots_.fused_head_dim_max);
    path.head = FittingHeadChunks(run.model, run.train, memory_bytes_, path);
    return path;
  }

  // FLOPs of only the run's own steps, without its parent's.
  double FlopsToTrain(const Run& run) const {
    const double whole = TrainFlops(run.model, run.train);
    const auto parent = standing_.parents_flops.find(run.parent);
    return parent == standing_.parents_flops.end() ? whole : whole - parent->second;
  }

  PlannedTraining TrainingOf(const PlannedRun& planned) const {
    if (!planned.run.trains()) return PlannedTraining::kNone;
    const auto state = standing_.trainings.find(planned.run_key);
    if (state == standing_.trainings.end()) return PlannedTraining::kToDo;
    if (state->second == TaskState::kSucceeded) return PlannedTraining::kKnown;
    return IsTerminal(state->second) ? PlannedTraining::kToDo : PlannedTraining::kUnderWay;
  }

  void PlanTraining(const PlannedRun& planned, RunPlan& plan, Estimate& chain) {
    const Run& run = planned.run;
    plan.training = TrainingOf(planned);
    const bool is_under_way = plan.training == PlannedTraining::kUnderWay;
    if (!is_under_way && plan.training != PlannedTraining::kToDo) return;
    if (!trainings_.insert(planned.run_key).second) return;
    // The least that the scheduler accepts: a run that has begun keeps its micro-batch.
    const bool has_begun = standing_.executions.contains(planned.run_key);
    const std::int64_t micro_batch = has_begun ? plan.micro_batch : 1;
    const std::int64_t step_bytes =
        TrainMemoryBytes(run.model, run.train, micro_batch, PathOf(planned));
    if (step_bytes > step_bytes_max_) {
      step_bytes_max_ = step_bytes;
      step_micro_batch_ = micro_batch;
    }
    plan.disk_bytes = (sweep_.checkpoint_keep + 1) * CheckpointBytes(run.model);
    if (is_under_way) {
      plan_.under_way_flops += plan.train_flops;
      return;
    }
    plan_.train_flops += plan.train_flops;
    const bool recomputes = sweep_.activation_checkpointing;
    CheckMemory(planned, "training", step_bytes,
                recomputes ? "a smaller model or a shorter train_length"
                           : "train.activation_checkpointing: true, a smaller model or a shorter "
                             "train_length");
    plan.train_time = forecast_.Of(TaskKind::kTrain, run, plan.train_flops);
    Count(planned, TaskKind::kTrain, plan.train_time, chain);
  }

  void PlanCells(const PlannedRun& planned, RunPlan& plan, Estimate& chain) {
    std::set<std::string> known, under_way, missing, refreshed;
    std::optional<double> flops = 0.0, under_way_flops = 0.0;
    std::set<std::string> not_applicable;
    CellLength length_of_most;  // at which an evaluation needs most memory
    bool has_new = false;
    const std::int64_t longest_read = LongestRead(planned.run.model);
    for (const PlannedEvaluation& evaluation : planned.evaluations) {
      const bool whole_windows = ReadsWholeWindows(evaluation.evaluation);
      const int keys_held = EvaluationKeysHeld(evaluation.evaluation);
      const Precision precision = EvaluationPrecision(evaluation.evaluation);
      std::vector<CellLength> new_lengths, under_way_lengths;
      for (const ExpectedCell& cell : evaluation.cells) {
        const CellLength length = LengthOf(cell);
        const bool is_beyond = whole_windows && length.longest_read() > longest_read;
        bool is_new = true;
        if (IsOwned(cell.cell, known, under_way)) {
          is_new = refresh_.contains(cell.cell);
          if (is_new) refreshed.insert(cell.cell);
          const bool is_measured = is_new || under_way.contains(cell.cell);
          if (!is_measured || is_beyond) continue;  // it costs nothing
        } else {
          missing.insert(cell.cell);
          if (is_beyond) not_applicable.insert(cell.cell);
        }
        if (!cells_.insert(cell.cell).second) continue;
        (is_new ? new_lengths : under_way_lengths).push_back(length);
        const std::int64_t bytes =
            EvaluateMemoryBytes(planned.run.model, cell.context_length, PathOf(planned), keys_held,
                                precision, cell.prompt_tokens);
        if (std::pair(bytes, cell.context_length) >
            std::pair(plan.evaluate_memory_bytes, length_of_most.context_length)) {
          plan.evaluate_memory_bytes = bytes;
          length_of_most = length;
        }
        has_new = has_new || is_new;
      }
      AddFlops(costs_.Flops(planned.run, evaluation.evaluation, new_lengths), flops);
      AddFlops(costs_.Flops(planned.run, evaluation.evaluation, under_way_lengths),
               under_way_flops);
    }
    plan.cells_known = std::ssize(known) + std::ssize(under_way);
    plan.cells_under_way = std::ssize(under_way);
    plan.cells_missing = std::ssize(missing);
    plan.cells_refreshed = std::ssize(refreshed);
    plan.cells_not_applicable = std::ssize(not_applicable);
    if (length_of_most.context_length == 0) return;
    const bool is_priced = flops && under_way_flops;
    plan.evaluate_flops = is_priced ? *flops + *under_way_flops : 0;
    plan_.evaluate_flops += flops.value_or(0);
    plan_.under_way_flops += under_way_flops.value_or(0);
    // The scheduler gives an evaluation to any GPU.
    if (PathOf(planned).device_kind == DeviceKind::kCpu) {
      const std::string prompts =
          length_of_most.prompt_tokens == 0
              ? ""
              : Str(" (prompts of up to ", length_of_most.prompt_tokens, " tokens)");
      CheckMemory(planned, Str("evaluating at ", length_of_most.context_length, prompts),
                  plan.evaluate_memory_bytes, "a smaller model or shorter context_lengths");
    }
    if (!has_new) return;  // the time left says it
    if (flops) plan.evaluate_time = forecast_.Of(TaskKind::kEvaluate, planned.run, *flops);
    Count(planned, TaskKind::kEvaluate, plan.evaluate_time, chain);
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
    const std::string_view has =
        slots_.of == "machine"
            ? (is_remote_ ? "the coordinator's machine has " : "this machine has ")
        : slots_.of == "workers" ? "the largest slot has "
                                 : "the largest slot known had ";
    AddProblem(Str("run ", planned.run_key.substr(0, kDigitsShown), ": ", what, " needs about ",
                   FormatBytes(n_bytes), ", but ", has, FormatBytes(slots_.memory_bytes), ": use ",
                   smaller, ", or a worker with more memory"));
  }

  void Count(const PlannedRun& planned, TaskKind kind, const std::optional<Estimate>& time,
             Estimate& chain) {
    total_.Add(time);
    all_new_.push_back({.run_key = planned.run_key,
                        .base = planned.run.BaseKey(),
                        .is_training = kind == TaskKind::kTrain,
                        .time = time});
    if (!time) return;
    chain.low_s += time->low_s;
    chain.likely_s += time->likely_s;
    chain.high_s += time->high_s;
  }

  // All slots share the work, but the tasks of one run must follow each other, and those of the run
  // from which it starts.
  Estimate WallTime() const {
    Estimate wall = total_.sum();
    const auto n = static_cast<double>(slots_.n);
    wall.low_s = std::max(wall.low_s / n, longest_.low_s);
    wall.likely_s = std::max(wall.likely_s / n, longest_.likely_s);
    wall.high_s = std::max(wall.high_s / n, longest_.high_s);
    return wall;
  }

  const Standing& standing_;
  const bool is_remote_;
  const Forecast& forecast_;
  CellCosts& costs_;
  const std::vector<DatasetRow>& datasets_;
  const Sweep& sweep_;
  const std::set<std::string>& refresh_;  // cells
  const Slots slots_;
  const std::int64_t memory_bytes_;  // of the largest slot; 0: a GPU, and none is known
  // The most that one step of a training to come needs, and its micro-batch.
  std::int64_t step_bytes_max_ = 0, step_micro_batch_ = 1;
  SweepPlan plan_;
  std::set<std::string> trainings_;  // already counted: a sweep may list a run twice
  std::set<std::string> cells_;
  std::map<std::string, std::string> read_;  // datasets of the work: name -> digest
  Total total_;
  // By run, the training tasks still to come up to its own, the base's first.
  std::map<std::string, Estimate> chains_;
  Estimate longest_;  // run
  std::vector<TimeLeft::New> all_new_;
};

}  // namespace

std::string DatasetProblem(const DatasetRow& dataset, bool is_remote) {
  const std::string& name = dataset.info.name;
  if (IsMissing(JoinPath(dataset.folder, kManifestName))) {
    return Str("dataset \"", name, "\" is no longer in ",
               is_remote ? "its folder on the coordinator's machine" : dataset.folder,
               ": put it back; if it was moved, register its new place", is_remote ? " there" : "",
               ": `longrun data register ", name, " FOLDER`; or import it again");
  }
  const Result<Manifest> manifest = ReadManifest(dataset.folder);
  const Status read =
      manifest.ok() ? CheckShardSizes(dataset.folder, *manifest) : manifest.status();
  if (read.code() != Code::kDataLoss) return "";  // a worker may still be able to read it
  return Str("dataset \"", name, "\": ",
             is_remote ? Str("a file of it is damaged: on the coordinator's machine, `longrun data "
                             "verify ",
                             name, "` says how; import the dataset again")
                       : read.message());
}

std::vector<std::string> DatasetProblems(const Sweep& sweep,
                                         const std::vector<DatasetRow>& datasets, bool is_remote) {
  std::map<std::string, std::string> names;  // and the key that gives each
  for (const PlannedRun& run : sweep.runs) {
    names.emplace(run.dataset_name, "matrix.dataset");
    for (const PlannedEvaluation& evaluation : run.evaluations) {
      const auto read = EvaluatedDatasetOf(evaluation.evaluation);
      if (read)
        names.emplace(read->name,
                      Str("evaluate.", evaluation.evaluation.begin().key(), ".dataset"));
    }
  }
  std::vector<std::string> problems;
  for (const auto& [name, key] : names) {
    const auto dataset = std::ranges::find(datasets, name, &DatasetNameOf);
    if (dataset == datasets.end()) continue;
    const std::string problem = DatasetProblem(*dataset, is_remote);
    if (!problem.empty()) problems.push_back(Str(key, ": ", problem));
  }
  return problems;
}

std::string_view PlannedTrainingName(PlannedTraining training) {
  switch (training) {
    case PlannedTraining::kNone:
      return "none";
    case PlannedTraining::kKnown:
      return "known";
    case PlannedTraining::kUnderWay:
      return "under_way";
    case PlannedTraining::kToDo:
      return "to_do";
    case PlannedTraining::kFailed:
      return "failed";
  }
  return "";
}

SubmissionPlanner::SubmissionPlanner(const Sweep& sweep,
                                     std::map<std::string, std::string> known_cells,
                                     std::set<std::string> refresh)
    : sweep_(sweep), known_cells_(std::move(known_cells)), refresh_(std::move(refresh)) {}

void SubmissionPlanner::Look(const State& state, Instant now, std::int64_t wall_ms) {
  standing_ = StandingOf(state, sweep_, known_cells_);
  left_.Look(state, TasksOf(state, sweep_, known_cells_), now, wall_ms, LastSlots::kCounted);
}

SweepPlan SubmissionPlanner::Plan(const std::vector<DatasetRow>& datasets, CellCosts& costs,
                                  const std::vector<MeasuredTask>& measured,
                                  std::int64_t disk_free_bytes, bool is_remote) {
  const Forecast forecast(measured);
  PlanMaker maker(standing_, forecast, costs, datasets, sweep_, refresh_, disk_free_bytes,
                  is_remote);
  SweepPlan plan = maker.Make();
  if (left_.any_open()) plan.time_left = left_.PredictFrom(measured, costs, maker.all_new());
  return plan;
}

}  // namespace longrun::coordinator
