// The machine under a trainer: what it computes on, and whether it can do so as the run's first
// attempt did.
#pragma once

#include <cstdint>
#include <string>

#include "base/json.h"
#include "base/status.h"
#include "model/net/device.h"
#include "sweeps/run.h"
#include "sweeps/task.h"

namespace longrun {

struct Machine {
  Compute compute;
  std::string device_kind;  // cpu | gpu
  std::string device_name;
  std::int64_t memory_bytes = 0;
  std::string simd;
  std::string linear;
  std::string operators;
  std::string subnormals;

  Json ToJson() const;  // {"kind","name","memory_bytes"}
};

// Opens the device that the task names, with `precision` (fp32, bf16), and fixes thread count and
// deterministic algorithms. kFailedPrecondition when the machine differs from the task's execution in
// anything that changes bits: the message says in what. What the execution leaves open ("") is
// decided by this machine.
Result<Machine> OpenMachine(const TaskFile& task, const std::string& precision);

// The execution with what was left open filled in by the machine.
Execution Completed(Execution execution, const Machine& machine);

}  // namespace longrun
