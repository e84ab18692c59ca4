#include "worker/agent/order.h"

#include <optional>
#include <utility>

#include "base/files.h"
#include "base/process.h"
#include "base/str.h"
#include "model/instruction_set.h"
#include "model/matrix_path.h"
#include "sweeps/evaluated_dataset.h"
#include "worker/agent/datasets.h"

namespace longrun::agent {
namespace {

// The code paths of an Execution or a Slot, for a message.
template <typename T>
std::string PathsText(const T& paths) {
  return Str(paths.linear, " and ", paths.simd,
             paths.bf16.empty() ? std::string() : Str(", bf16 by ", paths.bf16));
}

}  // namespace

Status CheckStart(const StartMessage& start, const TaskFile& task, const Slot& slot) {
  if (task.attempt != start.attempt || task.epoch != start.epoch ||
      task.run.dataset_digest != start.dataset_digest) {
    return Status(
        Code::kInvalidArgument,
        Str("the task file is for attempt ", task.attempt, " and epoch ", task.epoch,
            ", but the order is for attempt ", start.attempt, " and epoch ", start.epoch));
  }
  const Execution& wanted = task.execution;
  if (wanted.device_kind != slot.kind || !HonoursMatrixPath(slot.linear, wanted.linear) ||
      (!wanted.simd.empty() && !RunsSimd(slot.simd, wanted.simd)) ||
      (!wanted.bf16.empty() && wanted.bf16 != slot.bf16) ||
      (slot.kind == DeviceKind::kGpu && wanted.device_name != slot.name)) {
    return Status(
        Code::kFailedPrecondition,
        Str("the run uses ", EnumName(wanted.device_kind), " \"", wanted.device_name, "\" with ",
            PathsText(wanted), "; this worker has ", EnumName(slot.kind), " \"", slot.name,
            "\" with ", PathsText(slot), ": the results would not be bit for bit the same"));
  }
  return Status();
}

Result<Prepared> PrepareOrder(const StartMessage& start, const TaskFile& task,
                              const std::string& state, ArtifactTransfer& artifacts) {
  Prepared prepared;
  ASSIGN_OR_RETURN(
      prepared.dataset_path,
      FindDataset(start.dataset_digest, JoinPath(state, "datasets"), start.dataset_path));
  if (const std::optional<EvaluatedDataset> read = EvaluatedDatasetOf(task.evaluation)) {
    Result<std::string> found = FindDataset(read->digest, JoinPath(state, "datasets"), read->path);
    if (!found) return std::move(found).status().In(Str("evaluated dataset \"", read->name, "\""));
    prepared.evaluated_dataset_path = *std::move(found);
  }
  for (const CheckpointSource& source : start.checkpoints) {
    ASSIGN_OR_RETURN(prepared.checkpoints[source.sha256],
                     artifacts.FetchCheckpoint(source, JoinPath(state, "cache")));
  }
  return prepared;
}

Result<TaskFile> PlacedTask(const Order& order, const Prepared& prepared,
                            const AttemptFolder& folder, const std::string& state) {
  TaskFile task = order.task;
  for (std::optional<CheckpointRef>* ref : {&task.init, &task.resume}) {
    if (!ref->has_value()) continue;
    const auto found = prepared.checkpoints.find((*ref)->sha256);
    if (found == prepared.checkpoints.end()) {
      return Status(Code::kInvalidArgument, Str("the order does not say where checkpoint ",
                                                (*ref)->sha256, " of the task file is"));
    }
    (*ref)->checkpoint = found->second;
  }
  task.dataset_path = prepared.dataset_path;
  if (std::optional<EvaluatedDataset> read = EvaluatedDatasetOf(task.evaluation)) {
    read->path = prepared.evaluated_dataset_path;
    task.evaluation = WithEvaluatedDataset(std::move(task.evaluation), *read);
  }
  task.attempt_dir = folder.path;
  task.cache_dir = JoinPath(state, "cache");
  // CUDA_VISIBLE_DEVICES shows the trainer its one GPU, as ordinal 0.
  if (task.execution.device_kind == DeviceKind::kGpu) task.devices = {0};
  return task;
}

std::vector<std::string> TrainerEnvironment(const TaskFile& task, int device_index) {
  std::vector<std::string> env = {
      "LANG=C.UTF-8",
      // Threads that spin while waiting take the processor from those that they wait for.
      "OMP_WAIT_POLICY=passive",
      Str("OMP_NUM_THREADS=", task.execution.threads),
      Str("MKL_NUM_THREADS=", task.execution.threads),
      Str("ATEN_CPU_CAPABILITY=", CapabilityOfSimd(task.execution.simd)),
  };
  const bool gpu = task.execution.device_kind == DeviceKind::kGpu;
  // NVML numbers GPUs in bus order, so CUDA must as well. An empty list hides all GPUs.
  if (gpu) env.push_back("CUDA_DEVICE_ORDER=PCI_BUS_ID");
  env.push_back(gpu ? Str("CUDA_VISIBLE_DEVICES=", device_index) : "CUDA_VISIBLE_DEVICES=");
  for (const char* const name :
       {"PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "LONGRUN_FAILPOINTS"}) {
    if (const auto value = GetEnv(name)) env.push_back(Str(name, "=", *value));
  }
  return env;
}

}  // namespace longrun::agent
