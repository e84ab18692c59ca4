// See devices.h.
#include "worker/agent/devices.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/files.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/str.h"
#include "base/usable_cpus.h"
#include "kernels/cuda_plugin_file.h"
#include "model/attention_path.h"
#include "model/cpu_paths.h"

namespace longrun::agent {
namespace {

constexpr std::string_view kUuidPrefix = "GPU-";

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

Result<std::vector<int>> VisibleGpus(const std::vector<GpuName>& gpus,
                                     const std::optional<std::string>& visible) {
  std::vector<int> chosen;
  if (!visible) {
    for (std::size_t i = 0; i < gpus.size(); ++i) chosen.push_back(static_cast<int>(i));
    return chosen;
  }
  const std::string_view all = Trim(*visible);
  // Usual ways to hide all GPUs; the last one is that of older releases of Slurm.
  if (all.empty() || all == "-1" || all == "NoDevFiles") return chosen;
  for (const std::string& entry : Split(*visible, ',')) {
    const std::string_view name = Trim(entry);
    const auto is_it = [&](std::size_t i) {
      return name == Str(i) || (name.size() > kUuidPrefix.size() && name.starts_with(kUuidPrefix) &&
                                gpus[i].uuid.starts_with(name));
    };
    int found = -1;
    for (std::size_t i = 0; i < gpus.size() && found < 0; ++i) {
      if (is_it(i)) found = static_cast<int>(i);
    }
    if (found < 0) {
      return Status(Code::kInvalidArgument,
                    Str("CUDA_VISIBLE_DEVICES=\"", Printable(*visible), "\": \"", Printable(name),
                        "\" is not one of the ", gpus.size(),
                        " GPUs that NVML lists: expected their numbers from 0 in the order of the "
                        "bus, or their UUIDs (nvidia-smi -L)"));
    }
    if (std::ranges::count(chosen, found) > 0) {
      return Status(Code::kInvalidArgument, Str("CUDA_VISIBLE_DEVICES=\"", Printable(*visible),
                                                "\" names GPU ", found, " twice"));
    }
    chosen.push_back(found);
  }
  return chosen;
}

GpuKernels KernelsFor(const GpuName& gpu, const std::string& trainer) {
  const int head_dim_max = CudaHeadDimMax(gpu.capability_major);
  const bool has_any = head_dim_max > 0 && PathExists(JoinPath(FolderOf(trainer), kCudaPluginName));
  if (!has_any) return {};
  return {.attention = std::string(AttentionTo(head_dim_max)), .operators = "longrun"};
}

Result<Devices> DetectDevices(int cpu_slots, const std::string& trainer) {
  const HostCpu cpu = DetectHostCpu();
  if (cpu_slots > 0) return Devices{.slots = CpuSlots(cpu, cpu_slots)};
  ASSIGN_OR_RETURN(const std::vector<GpuName> gpus, DetectGpus());
  if (gpus.empty()) return Devices{.slots = CpuSlots(cpu, 0)};
  Devices devices;
  ASSIGN_OR_RETURN(devices.gpus, VisibleGpus(gpus, GetEnv("CUDA_VISIBLE_DEVICES")));
  if (devices.gpus.empty()) return Devices{.slots = CpuSlots(cpu, 0)};
  const int n_gpus = static_cast<int>(devices.gpus.size());
  devices.slots.reserve(devices.gpus.size());
  for (int i = 0; i < n_gpus; ++i) {
    const auto place = static_cast<std::size_t>(devices.gpus[static_cast<std::size_t>(i)]);
    const GpuName& gpu = gpus[place];
    GpuKernels kernels = KernelsFor(gpu, trainer);
    devices.slots.push_back({.index = i,
                             .kind = DeviceKind::kGpu,
                             .name = gpu.name,
                             .memory_bytes = gpu.memory_bytes,
                             .threads = std::max(1, cpu.cores / n_gpus),
                             .simd = cpu.simd,
                             .linear = "aten/cuda",
                             .attention = std::move(kernels.attention),
                             .operators = std::move(kernels.operators)});
  }
  return devices;
}

}  // namespace longrun::agent
