// See devices.h.
#include "worker/agent/devices.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/memory.h"
#include "base/str.h"
#include "base/usable_cpus.h"
#include "model/cpu_paths.h"
#include "worker/agent/nvml.h"

namespace longrun::agent {
namespace {

Result<std::vector<GpuName>> DetectGpus() {
  ASSIGN_OR_RETURN(const std::unique_ptr<Nvml> nvml, Nvml::Open());
  if (nvml == nullptr) return std::vector<GpuName>();
  return nvml->Gpus();
}

}  // namespace

HostCpu DetectHostCpu() {
  HostCpu cpu;
  cpu.cores = UsableCpus();
  cpu.memory_bytes = MachineMemoryBytes();
  CpuPaths paths = DetectCpuPaths();
  cpu.name = std::move(paths.cpu.name);
  cpu.simd = std::move(paths.simd);
  cpu.linear = std::move(paths.linear);
  cpu.bf16 = std::move(paths.bf16);
  return cpu;
}

std::vector<Slot> CpuSlots(const HostCpu& cpu, int n_slots) {
  if (n_slots <= 0) {
    const std::int64_t fitting = cpu.memory_bytes / kCpuSlotBytesMin;
    n_slots = static_cast<int>(std::clamp<std::int64_t>(fitting, 1, cpu.cores));
  }
  std::vector<Slot> slots;
  slots.reserve(static_cast<std::size_t>(n_slots));
  for (int i = 0; i < n_slots; ++i) {
    slots.push_back({.index = i,
                     .kind = DeviceKind::kCpu,
                     .name = cpu.name,
                     .memory_bytes = cpu.memory_bytes / n_slots,
                     .threads = std::max(1, cpu.cores / n_slots),
                     .simd = cpu.simd,
                     .linear = cpu.linear,
                     .bf16 = cpu.bf16});
  }
  return slots;
}

Result<std::vector<Slot>> DetectDevices(int cpu_slots) {
  const HostCpu cpu = DetectHostCpu();
  if (cpu_slots > 0) return CpuSlots(cpu, cpu_slots);
  ASSIGN_OR_RETURN(const std::vector<GpuName> gpus, DetectGpus());
  if (gpus.empty()) return CpuSlots(cpu, 0);
  std::vector<Slot> slots;
  const int n_gpus = static_cast<int>(gpus.size());
  slots.reserve(gpus.size());
  for (int i = 0; i < n_gpus; ++i) {
    const GpuName& gpu = gpus[static_cast<std::size_t>(i)];
    slots.push_back({.index = i,
                     .kind = DeviceKind::kGpu,
                     .name = gpu.name,
                     .memory_bytes = gpu.memory_bytes,
                     .threads = std::max(1, cpu.cores / n_gpus),
                     .simd = cpu.simd,
                     .linear = "aten/cuda"});
  }
  return slots;
}

}  // namespace longrun::agent
