// See costs.h.
#include "coordinator/costs.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "base/memory.h"
#include "coordinator/dataset_documents.h"
#include "model/evaluation/evaluation.h"
#include "sweeps/cost.h"
#include "sweeps/evaluated_dataset.h"

namespace longrun::coordinator {
namespace {

constexpr std::int64_t kMeasuredMax = 500;

// The task as a measurement for the forecast; nullopt if another release wrote it, if it ran on
// another kind of device than the sweep will, or if it cannot be compared.
std::optional<MeasuredTask> Measured(const MeasuredRow& row, DeviceChoice device_kind,
                                     CellCosts& costs) {
  const Result<Json> run_json = ParseJson(row.run_json);
  const Result<Json> execution_json = ParseJson(row.execution_json);
  if (!run_json.ok() || !execution_json.ok()) return std::nullopt;
  const Result<Run> run = Run::FromJson(*run_json);
  const Result<Execution> execution = Execution::FromJson(*execution_json);
  if (!run.ok() || !execution.ok()) return std::nullopt;
  if (!Admits(device_kind, execution->device_kind)) return std::nullopt;
  const bool is_training = row.kind == EnumName(TaskKind::kTrain);
  std::optional<double> flops = is_training ? TrainFlops(run->model, run->train) : 0.0;
  if (!is_training) {
    const Result<Json> evaluation = ParseJson(row.evaluation_json);
    const Result<Json> cells = ParseJson(row.expected_cells_json);
    if (!evaluation.ok() || !cells.ok()) return std::nullopt;
    std::set<std::string> counted;  // a cell may owe several rows
    std::vector<CellLength> lengths;
    for (const Json& json : *cells) {
      const Result<ExpectedCell> cell = ExpectedCell::FromJson(json);
      if (!cell.ok()) return std::nullopt;
      if (counted.insert(cell->cell).second) lengths.push_back(LengthOf(*cell));
    }
    flops = costs.Flops(*run, *evaluation, lengths);
  }
  if (!flops) return std::nullopt;
  return MeasuredTask{.kind = is_training ? TaskKind::kTrain : TaskKind::kEvaluate,
                      .device = DeviceName(*execution),
                      .position = run->model.position.method,
                      .shape = ShapeOf(*run),
                      .flops = *flops,
                      .seconds = row.seconds,
                      .start_s = row.start_seconds};
}

// Only a worker knows its GPUs. On those that our kernels are for, all attention is fused.
constexpr std::int64_t kBestHeadDimMax = std::numeric_limits<std::int64_t>::max();

Slots SlotsOf(const State& state, DeviceChoice device_kind, bool gone_too) {
  Slots slots{.kind = device_kind == DeviceChoice::kGpu ? DeviceKind::kGpu : DeviceKind::kCpu};
  for (const auto& [id, worker] : state.workers) {
    if (!gone_too && !TakesWork(worker)) continue;
    slots.any_worker = true;
    slots.of = gone_too ? "last workers" : "workers";
    for (const Slot& slot : worker.slots) {
      if (!Admits(device_kind, slot.kind)) continue;
      slots.n += 1;
      if (slot.memory_bytes <= slots.memory_bytes) continue;
      slots.memory_bytes = slot.memory_bytes;
      slots.kind = slot.kind;
      slots.fused_head_dim_max = FusedHeadDimMax(slot);
    }
  }
  return slots;
}

}  // namespace

CellLength LengthOf(const ExpectedCell& cell) {
  return {.context_length = cell.context_length, .prompt_tokens = cell.prompt_tokens};
}

CellCosts::CellCosts(const std::vector<DatasetRow>& datasets) {
  for (const DatasetRow& row : datasets) datasets_[row.info.digest] = row;
}

std::optional<double> CellCosts::Flops(const Run& run, const Json& evaluation,
                                       std::span<const CellLength> lengths) {
  const bool reads_once = EvaluationReadsOnce(evaluation);
  double flops = 0;
  for (const CellLength& length : lengths) {
    auto tokens =
        Tokens(DigestOfText(evaluation, run.dataset_digest), evaluation, length.context_length);
    if (!tokens) return std::nullopt;
    // Of prompts as long as the context length (Evaluation::tokens_read).
    *tokens *=
        static_cast<double>(length.longest_read()) / static_cast<double>(length.context_length);
    const double of_cell = EvaluateFlops(run.model, *tokens, length.longest_read());
    flops = reads_once ? std::max(flops, of_cell) : flops + of_cell;
  }
  return flops;
}

std::optional<double> CellCosts::Tokens(const std::string& digest, const Json& evaluation,
                                        std::int64_t context_length) {
  const Key key = {digest, CanonicalJson(evaluation), context_length};
  const auto known = tokens_.find(key);
  if (known != tokens_.end()) return known->second;
  std::optional<double> tokens;
  const auto dataset = datasets_.find(digest);
  const auto what = FindEvaluation(evaluation.begin().key());
  if (dataset != datasets_.end() && what.ok() && (*what)->tokens_read != nullptr) {
    DatasetShape shape = {.name = "", .split_tokens = dataset->second.info.split_tokens};
    if (EvaluationReadsOnce(evaluation)) shape.split_documents = SplitDocuments(dataset->second);
    tokens = (*what)->tokens_read(shape, evaluation.begin().value(), context_length);
  }
  tokens_.emplace(key, tokens);
  return tokens;
}

void AddFlops(const std::optional<double>& flops, std::optional<double>& sum) {
  sum = sum && flops ? std::optional(*sum + *flops) : std::nullopt;
}

Result<std::vector<MeasuredTask>> NewestMeasured(StoreReader& reader, DeviceChoice device_kind,
                                                 CellCosts& costs) {
  ASSIGN_OR_RETURN(const std::vector<MeasuredRow> rows, reader.MeasuredTasks(kMeasuredMax));
  std::vector<MeasuredTask> measured;
  measured.reserve(rows.size());
  for (const MeasuredRow& row : rows) {
    if (auto task = Measured(row, device_kind, costs)) measured.push_back(std::move(*task));
  }
  return measured;
}

Slots SlotsFor(const State& state, DeviceChoice device_kind) {
  for (const bool gone_too : {false, true}) {
    Slots slots = SlotsOf(state, device_kind, gone_too);
    if (!slots.any_worker) continue;
    if (slots.n == 0) slots.fused_head_dim_max = kBestHeadDimMax;
    return slots;
  }
  if (device_kind == DeviceChoice::kGpu) {
    return Slots{.kind = DeviceKind::kGpu, .fused_head_dim_max = kBestHeadDimMax};
  }
  return Slots{.memory_bytes = MachineMemoryBytes()};
}

}  // namespace longrun::coordinator
