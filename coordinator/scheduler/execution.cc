// How a run is computed: everything that can change bits. The slot of the first attempt that starts
// decides it for good. Until then, an offer decides it only for other offers of the same run, and
// only while the offer is open: if a worker refuses it, another kind of slot can take the run.
#include <utility>

#include "coordinator/scheduler/step.h"
#include "sweeps/cost.h"

namespace longrun::coordinator {
namespace {

// The execution of open offers of the run: all have the same.
std::shared_ptr<const Execution> OfferedExecution(const State& state, const std::string& run_key) {
  const auto offered = state.index.offered.find(run_key);
  if (offered == state.index.offered.end()) return nullptr;
  return state.attempts.at(*offered->second.begin()).execution;
}

// Other tasks of the run may be ready, and now need another slot. A run that is trained has none:
// its evaluations are ready only once an attempt has started.
void IndexOthersAgain(StepContext& step, const std::string& run_key) {
  State& state = step.state;
  const auto tasks = state.index.untrained.find(run_key);
  if (tasks == state.index.untrained.end()) return;
  for (const std::string& id : tasks->second) {
    Task& task = state.tasks.at(id);
    if (task.state != TaskState::kReady || task.ready_class.empty()) continue;
    UnindexReady(state, task);
    IndexReady(state, task, step.now);
    const std::string& unfit = state.index.ready.at(task.ready_class).unfit;
    task.reason = unfit.empty() ? WaitReason(task) : unfit;
    step.changed_tasks.insert(id);
  }
}

}  // namespace

const Execution* ExecutionOf(const State& state, const RunRecord& run) {
  return run.execution ? &*run.execution : OfferedExecution(state, run.run_key).get();
}

std::shared_ptr<const Execution> ExecutionToOffer(const State& state, const Task& task,
                                                  const RunRecord& run, const Slot& slot) {
  if (run.execution) return nullptr;
  if (std::shared_ptr<const Execution> offered = OfferedExecution(state, run.run_key)) {
    return offered;
  }
  MemoryPath path = NewRunMemoryPath(run.run.model, slot.kind, task.activation_checkpointing,
                                     FusedHeadDimMax(slot));
  path.head = HasWideHead(slot)
                  ? FittingHeadChunks(run.run.model, run.run.train, slot.memory_bytes, path)
                  : HeadChunks::kByLogits;
  return std::make_shared<const Execution>(Execution{
      .device_kind = slot.kind,
      .device_name = slot.kind == DeviceKind::kGpu ? slot.name : "",
      .threads = slot.threads,
      .micro_batch = AutoMicroBatch(run.run.model, run.run.train, slot.memory_bytes, path),
      .attention = path.attention,
      .linear = slot.linear,
      .operators = OperatorsFor(slot.kind, HasOperators(slot)),
      .simd = slot.simd,
      .subnormals = SubnormalsFor(slot.kind),
      .bf16 = run.run.train.precision == Precision::kBf16 ? slot.bf16 : "",
      .head = run.run.trains() ? path.head : HeadChunks::kByLogits});
}

void NoteOffer(StepContext& step, const Attempt& attempt) {
  if (attempt.execution == nullptr) return;
  const std::string& run_key = TaskOf(step.state, attempt).run_key;
  step.state.index.offered[run_key].insert(attempt.id);
  IndexOthersAgain(step, run_key);
}

void EndOffer(StepContext& step, Attempt& attempt) {
  if (attempt.execution == nullptr) return;
  const std::string& run_key = TaskOf(step.state, attempt).run_key;
  const auto offered = step.state.index.offered.find(run_key);
  offered->second.erase(attempt.id);
  if (offered->second.empty()) step.state.index.offered.erase(offered);
  attempt.execution.reset();
  step.changed_attempts.insert(attempt.id);
  IndexOthersAgain(step, run_key);
}

void BindExecution(StepContext& step, Attempt& attempt, const StartedRecord* started) {
  RunRecord& run = step.state.runs.at(TaskOf(step.state, attempt).run_key);
  if (!run.execution) {
    if (attempt.execution != nullptr) {
      run.execution = *attempt.execution;
    } else if (started != nullptr) {
      run.execution = started->execution;
    }
    if (run.execution) step.changed_runs.insert(run.run_key);
  }
  EndOffer(step, attempt);
}

}  // namespace longrun::coordinator
