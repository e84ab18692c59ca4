// The devices that this worker may use: one slot for each GPU or, in MIG mode, for each of its MIG
// devices; if there is no GPU, slots of the CPU.
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

// The GPUs and MIG devices that CUDA_VISIBLE_DEVICES, `visible`, leaves to this process: all if the
// variable is not set, none if it is empty. A batch system sets it to the GPUs of the job. A GPU in
// MIG mode stands for its MIG devices. CUDA itself shows a process only one MIG device, but each
// trainer is a process of its own.
// kInvalidArgument if the variable names a GPU that NVML does not list. kFailedPrecondition if it
// names a GPU in MIG mode without a MIG device, or if there are only such GPUs. Pure.
Result<std::vector<GpuName>> VisibleGpus(const std::vector<GpuName>& gpus,
                                         const std::optional<std::string>& visible);

// What a GPU's slot says of our kernels (Slot): they need the plug-in of kernels/cuda/ beside the
// trainer, and a GPU that runs it.
struct GpuKernels {
  std::string attention, operators;
};
GpuKernels KernelsFor(const GpuName& gpu, const std::string& trainer);

struct Devices {
  std::vector<Slot> slots;
  std::vector<GpuName> gpus = {};  // of each slot; empty for CPU slots
};

// One slot for each device; `trainer` as below. GPUs without memory of their own share the
// machine's, in equal parts. Pure, except that it looks for the plug-in.
Devices GpuSlots(std::vector<GpuName> gpus, const HostCpu& cpu, const std::string& trainer);

// Whether the trainer can compute on the GPU or MIG device: what a task would need first, such as
// LibTorch's CUDA half, is opened by the trainer itself. kFailedPrecondition with its message, and
// the remedy; kUnavailable if it gives no answer for minutes.
Status CheckTrainerOpens(const std::string& trainer, const GpuName& gpu);

// The visible GPUs that NVML reports or, if there are none, CPU slots. cpu_slots > 0: that many CPU
// slots, and no GPUs. `trainer` is the program whose build decides what a GPU slot can do.
// kInternal if a driver exists but does not answer, kFailedPrecondition if the trainer cannot
// compute on the first GPU: a broken GPU machine must not be taken for a CPU machine, nor for one
// on which each task would fail.
Result<Devices> DetectDevices(int cpu_slots, const std::string& trainer);

}  // namespace longrun::agent
