#include "worker/trainer/machine.h"

#include <memory>
#include <optional>
#include <utility>

#include "base/cpu.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/str.h"
#include "base/subnormals.h"
#include "base/utf8.h"
#include "kernels/cuda_attention.h"
#include "model/cpu_paths.h"
#include "model/evaluation/params.h"
#include "worker/trainer/gpu.h"

namespace longrun::trainer {
namespace {

Status Differs(std::string_view what, std::string_view wanted, std::string_view found) {
  return Status(Code::kFailedPrecondition,
                Str("this run computes with ", what, " \"", wanted, "\", but this machine has \"",
                    found, "\": the numbers would change; run it on a machine like the first one"));
}

Status Honour(const Execution& wanted, const Machine& machine) {
  if (wanted.device_kind != machine.device_kind) {
    return Differs("device", EnumName(wanted.device_kind), EnumName(machine.device_kind));
  }
  // The CPU's name does not affect bits; the GPU's selects kernels.
  if (machine.device_kind == DeviceKind::kGpu && !wanted.device_name.empty() &&
      wanted.device_name != machine.device_name) {
    return Differs("GPU", wanted.device_name, machine.device_name);
  }
  if (!wanted.linear.empty() && wanted.linear != machine.linear) {
    return Differs("matrix path", wanted.linear, machine.linear);
  }
  if (wanted.operators && *wanted.operators != machine.operators) {
    // What is wrong with the plug-in or the GPU says more than that they differ.
    if (machine.device_kind == DeviceKind::kGpu && *wanted.operators == OperatorSet::kLongrun) {
      RETURN_IF_ERROR(CheckCudaGpu(CudaPluginPath(), machine.compute.device.index()));
    }
    return Differs("operators", EnumName(*wanted.operators), EnumName(machine.operators));
  }
  if (wanted.subnormals && *wanted.subnormals != machine.subnormals) {
    return Differs("subnormal numbers", SubnormalsName(*wanted.subnormals),
                   SubnormalsName(machine.subnormals));
  }
  if (machine.device_kind == DeviceKind::kCpu && !wanted.simd.empty() &&
      wanted.simd != machine.simd) {
    return Differs("instruction set", wanted.simd, machine.simd);
  }
  if (!machine.bf16.empty() && !wanted.bf16.empty() && wanted.bf16 != machine.bf16) {
    return Differs("products in bf16 by", wanted.bf16, machine.bf16);
  }
  return Status();
}

// A run keeps the path that it began with, if this CPU supports it;
// a new run takes its vendor's path.
std::string DecideLinear(const std::string& wanted, Compute& compute) {
  const std::string vendor = IdentifyCpu().vendor;
  if (compute.device.is_cpu() && !wanted.empty()) {
    if (const std::optional<MatrixPath> path = FindMatrixPath(wanted, vendor)) compute.path = *path;
  }
  return LinearName(compute);
}

// The same for all other operators, which every machine can take from LibTorch.
OperatorSet DecideOperators(std::optional<OperatorSet> wanted, Compute& compute) {
  if (wanted == OperatorSet::kAten) UseAtenOperators(compute);
  return *FindEnum<OperatorSet>(OperatorsName(compute));
}

// The same for subnormal numbers: every machine can keep them, and a GPU always does.
Subnormals DecideSubnormals(std::optional<Subnormals> wanted, DeviceKind device_kind) {
  const bool can_flush = device_kind == DeviceKind::kCpu && CanFlushSubnormals();
  const bool honoured = wanted && (*wanted == Subnormals::kKept || can_flush);
  return honoured ? *wanted : SubnormalsFor(device_kind);
}

Result<std::shared_ptr<Recorder>> RecorderOf(const c10::Device& device) {
  const std::string wanted = GetEnv("LONGRUN_GPU_GRAPHS").value_or("");
  if (wanted.empty() || wanted == "0") return std::shared_ptr<Recorder>();
  if (wanted != "1") {
    return Status(Code::kInvalidArgument,
                  Str("the environment variable LONGRUN_GPU_GRAPHS is ", Quoted(wanted),
                      ": write 1 to record training steps as CUDA graphs, or 0"));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<Recorder> recorder, OpenRecorder(device));
  return std::shared_ptr<Recorder>(std::move(recorder));
}

}  // namespace

Json Machine::ToJson() const {
  return {{"kind", device_kind}, {"name", device_name}, {"memory_bytes", memory_bytes}};
}

Precision PrecisionOf(const TaskFile& task) {
  if (task.kind == TaskKind::kTrain) return task.run.train.precision;
  return EvaluationPrecision(task.evaluation);
}

Result<Machine> OpenMachine(const TaskFile& task) {
  const Precision precision = PrecisionOf(task);
  Machine machine;
  machine.device_kind = task.execution.device_kind;
  machine.simd = SimdPath();
  if (machine.device_kind == DeviceKind::kGpu) {
    // If the worker made only one device visible, it has number 0.
    const bool one_visible = GetEnv("CUDA_VISIBLE_DEVICES").has_value();
    const int ordinal = one_visible || task.devices.empty() ? 0 : task.devices.front();
    ASSIGN_OR_RETURN(machine.compute, OpenCompute(Str("cuda:", ordinal), EnumName(precision)));
    ASSIGN_OR_RETURN(const GpuInfo gpu, DescribeGpu(ordinal));
    ASSIGN_OR_RETURN(machine.recorder, RecorderOf(machine.compute.device));
    machine.device_name = gpu.name;
    machine.memory_bytes = gpu.memory_bytes;
  } else {
    ASSIGN_OR_RETURN(machine.compute, OpenCompute("cpu", EnumName(precision)));
    machine.device_name = IdentifyCpu().name;
    machine.memory_bytes = PhysicalMemoryBytes();
    if (precision == Precision::kBf16) machine.bf16 = DetectCpuPaths().bf16;
    machine.compute.head_chunks = task.execution.head;
  }
  machine.linear = DecideLinear(task.execution.linear, machine.compute);
  machine.operators = DecideOperators(task.execution.operators, machine.compute);
  machine.subnormals = DecideSubnormals(task.execution.subnormals, machine.device_kind);
  RETURN_IF_ERROR(Honour(task.execution, machine));
  FixNumerics({.threads = task.execution.threads,
               .sdpa_attention = task.execution.attention == AttentionBackend::kTorch,
               .subnormals = machine.subnormals},
              machine.compute.device);
  return machine;
}

Execution Completed(Execution execution, const Machine& machine) {
  if (execution.device_name.empty() && machine.device_kind == DeviceKind::kGpu) {
    execution.device_name = machine.device_name;
  }
  if (execution.linear.empty()) execution.linear = machine.linear;
  if (!execution.operators) execution.operators = machine.operators;
  if (execution.simd.empty()) execution.simd = machine.simd;
  if (!execution.subnormals) execution.subnormals = machine.subnormals;
  if (execution.bf16.empty()) execution.bf16 = machine.bf16;
  return execution;
}

}  // namespace longrun::trainer
