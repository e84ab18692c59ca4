// The machine of a trainer: the device on which it computes, and a check that the machine matches
// the run's first attempt.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/json.h"
#include "base/status.h"
#include "model/net/device.h"
#include "model/net/recorder.h"
#include "sweeps/run.h"
#include "sweeps/task.h"

namespace longrun::trainer {

struct Machine {
  Compute compute;
  DeviceKind device_kind = DeviceKind::kCpu;
  std::string device_name;
  std::int64_t memory_bytes = 0;
  std::string simd;
  std::string linear;
  OperatorSet operators = OperatorSet::kAten;
  Subnormals subnormals = Subnormals::kKept;
  std::string bf16;  // "" unless it computes in bf16 on a CPU
  // Of the GPU, if LONGRUN_GPU_GRAPHS is 1; null: passes are not recorded.
  std::shared_ptr<Recorder> recorder;

  Json ToJson() const;  // {"kind","name","memory_bytes"}
};

// In which the task computes: a training in that of its run, an evaluation in its own.
Precision PrecisionOf(const TaskFile& task);

// Opens the device that the task names, and fixes thread count and deterministic algorithms.
// kInvalidArgument if LONGRUN_GPU_GRAPHS is neither 0 nor 1.
// kFailedPrecondition if the machine differs from the task's execution in anything that changes
// bits; the message names it. This machine decides what the execution leaves open.
Result<Machine> OpenMachine(const TaskFile& task);

// The execution, with the machine's values in place of those that were left open.
Execution Completed(Execution execution, const Machine& machine);

}  // namespace longrun::trainer
