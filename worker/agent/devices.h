// The devices of this machine: one slot for each GPU or, if there is none, slots of the CPU.
// Micro-batch and numeric paths are decided from these values once per run and kept by all of its
// attempts, so they are properties of the machine, not of the moment: total memory,
// not free memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "sweeps/slot.h"

namespace longrun::agent {

// The host's CPU side.
struct HostCpu {
  int cores = 1;                  // on which we may run
  std::int64_t memory_bytes = 0;  // of the machine, or of our cgroup if that is less
  std::string name;               // "AMD EPYC 9V74 80-Core Processor"
  std::string simd;               // as in a slot
  std::string linear;
  std::string bf16 = {};
};
HostCpu DetectHostCpu();

// The least memory for a trainer, for the default number of slots.
inline constexpr std::int64_t kCpuSlotBytesMin = std::int64_t{2} << 30;

// n_slots 0: one per core, as far as memory suffices; at least one. Pure.
std::vector<Slot> CpuSlots(const HostCpu& cpu, int n_slots);

// The GPUs that NVML reports, else CPU slots. cpu_slots > 0: that many CPU slots, and no GPUs.
// kInternal if a driver exists but does not answer: a broken GPU machine must not be taken
// for a CPU machine.
Result<std::vector<Slot>> DetectDevices(int cpu_slots);

}  // namespace longrun::agent
