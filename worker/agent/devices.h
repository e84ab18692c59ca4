// The devices that this worker may use: one slot for each GPU or, if there is none, slots of the
// CPU.
// Micro-batch and numeric paths are decided from the values of a slot, once per run, and kept by
// all of its attempts. So these values are properties of the machine, not of the moment: total
// memory, not free memory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "sweeps/slot.h"
#include "worker/agent/nvml.h"

namespace longrun::agent {

// The processors of this host.
struct HostCpu {
  int cores = 1;                  // that we may use
  std::int64_t memory_bytes = 0;  // of the machine, or of our cgroup if that is less
  std::string name;               // "AMD EPYC 9V74 80-Core Processor"
  std::string simd;               // like Slot::simd
  std::string linear;
  std::string bf16 = {};
};
HostCpu DetectHostCpu();

// The memory that a CPU slot has at least, for the default number of slots.
inline constexpr std::int64_t kCpuSlotBytesMin = std::int64_t{2} << 30;

// n_slots 0: one slot per core, or fewer if memory does not suffice, but at least one. Pure.
std::vector<Slot> CpuSlots(const HostCpu& cpu, int n_slots);

// The GPUs that CUDA_VISIBLE_DEVICES, `visible`, leaves to this process, as NVML numbers them: all
// if the variable is not set, none if it is empty. A batch system sets it to the GPUs of the job.
// kInvalidArgument if it names a GPU that NVML does not list. Pure.
Result<std::vector<int>> VisibleGpus(const std::vector<GpuName>& gpus,
                                     const std::optional<std::string>& visible);

// What a GPU's slot says of our kernels (Slot): they need the plug-in of kernels/cuda/ beside the
// trainer, and a GPU that runs it.
struct GpuKernels {
  std::string attention, operators;
};
GpuKernels KernelsFor(const GpuName& gpu, const std::string& trainer);

struct Devices {
  std::vector<Slot> slots;
  std::vector<int> gpus = {};  // of each slot, as NVML numbers them; empty for CPU slots
};

// The visible GPUs that NVML reports or, if there are none, CPU slots. cpu_slots > 0: that many CPU
// slots, and no GPUs. `trainer` is the program whose build decides what a GPU slot can do.
// kInternal if a driver exists but does not answer: a broken GPU machine must not be taken for a
// CPU machine.
Result<Devices> DetectDevices(int cpu_slots, const std::string& trainer);

}  // namespace longrun::agent
