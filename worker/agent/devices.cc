// See devices.h.
#include "worker/agent/devices.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/files.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/run_child.h"
#include "base/str.h"
#include "base/usable_cpus.h"
#include "kernels/cuda_plugin_file.h"
#include "model/attention_path.h"
#include "model/cpu_paths.h"

namespace longrun::agent {
namespace {

Result<std::vector<GpuName>> DetectGpus() {
  ASSIGN_OR_RETURN(const std::unique_ptr<Nvml> nvml, Nvml::Open());
  if (nvml == nullptr) return std::vector<GpuName>();
  return nvml->Gpus();
}

bool HasNoMemoryOfItsOwn(const GpuName& gpu) { return gpu.memory_bytes == 0; }

bool LacksMigDevices(const GpuName& gpu) { return gpu.in_mig_mode && gpu.mig_devices.empty(); }

constexpr const char* kWhyMachineMemory =
    "NVML does not say how much memory this GPU has, as of GPUs that share the machine's memory; "
    "so its slot counts on that, and what other programs use there is missing from its tasks";

std::string WhyUnusable(const GpuName& gpu) {
  const unsigned i = gpu.place.gpu;
  return Str(
      "GPU ", i, " (", gpu.name, ", ", gpu.uuid,
      ") is in MIG mode without a MIG device, so it has no slot: create one (`nvidia-smi mig "
      "-i ",
      i, " -lgip` lists the profiles, `nvidia-smi mig -i ", i,
      " -cgi PROFILE -C` creates one) or end MIG mode (`nvidia-smi -i ", i,
      " -mig 0`), then restart the worker");
}

// What CUDA can compute on.
std::vector<GpuName> CudaDevicesOf(const GpuName& gpu) {
  return gpu.in_mig_mode ? gpu.mig_devices : std::vector<GpuName>{gpu};
}

// The GPUs and MIG devices whose UUID begins with `name`, or the one whose UUID it is.
std::vector<GpuName> WithUuid(const std::vector<GpuName>& gpus, std::string_view name) {
  std::vector<GpuName> found;
  // A beginning has to show at least one character of the UUID proper.
  if (!(name.starts_with("GPU-") || name.starts_with("MIG-")) || name.size() <= 4) return found;
  for (const GpuName& gpu : gpus) {
    std::vector<GpuName> candidates = gpu.mig_devices;
    candidates.push_back(gpu);
    for (GpuName& candidate : candidates) {
      if (name == candidate.uuid || name == candidate.instance_name) return {candidate};
      if (candidate.uuid.starts_with(name)) found.push_back(std::move(candidate));
    }
  }
  return found;
}

// What an entry of CUDA_VISIBLE_DEVICES stands for.
Result<std::vector<GpuName>> Named(const std::vector<GpuName>& gpus, std::string_view name) {
  std::vector<GpuName> found = WithUuid(gpus, name);
  for (const GpuName& gpu : gpus) {
    if (name == Str(gpu.place.gpu)) found = {gpu};
  }
  if (found.empty()) {
    return Status(Code::kFailedPrecondition,
                  Str("\"", Printable(name), "\" is not one of the ", gpus.size(),
                      " GPUs that NVML lists, nor one of their MIG devices: expected numbers of "
                      "GPUs from 0 in the order of the bus, or UUIDs of GPUs or MIG devices "
                      "(nvidia-smi -L)"));
  }
  if (found.size() > 1) {
    return Status(
        Code::kFailedPrecondition,
        Str("\"", Printable(name), "\" is the beginning of ", found.size(), " UUIDs, among them ",
            found[0].uuid, " and ", found[1].uuid, ": write more of the UUID (nvidia-smi -L)"));
  }
  if (LacksMigDevices(found[0])) {
    return Status(Code::kFailedPrecondition, WhyUnusable(found[0]));
  }
  return CudaDevicesOf(found[0]);
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
                     .bf16 = cpu.bf16,
                     .head = std::string(EnumName(HeadChunks::kByWidth))});
  }
  return slots;
}

Result<std::vector<GpuName>> VisibleGpus(const std::vector<GpuName>& gpus,
                                         const std::optional<std::string>& visible) {
  std::vector<GpuName> chosen;
  if (gpus.empty()) return chosen;  // a profile may set the variable on every machine
  if (!visible) {
    for (const GpuName& gpu : gpus) {
      for (GpuName& device : CudaDevicesOf(gpu)) chosen.push_back(std::move(device));
    }
    if (!chosen.empty()) return chosen;
    return Status(Code::kFailedPrecondition,
                  Str(WhyUnusable(gpus[0]), "; or start with --cpu-slots"));
  }
  const std::string_view all = Trim(*visible);
  // Usual ways to hide all GPUs; the last one is that of older releases of Slurm.
  if (all.empty() || all == "-1" || all == "NoDevFiles") return chosen;
  const std::string variable = Str("CUDA_VISIBLE_DEVICES=\"", Printable(*visible), "\"");
  for (const std::string& entry : Split(*visible, ',')) {
    Result<std::vector<GpuName>> named = Named(gpus, Trim(entry));
    if (!named) return std::move(named).status().In(variable);
    for (GpuName& device : *named) {
      if (std::ranges::count(chosen, device.uuid, &GpuName::uuid) > 0) {
        return Status(Code::kFailedPrecondition,
                      Str(variable, " names ", device.uuid, " twice: name each device once"));
      }
      chosen.push_back(std::move(device));
    }
  }
  return chosen;
}

GpuKernels KernelsFor(const GpuName& gpu, const std::string& trainer) {
  const bool has_any = HasCudaKernels(gpu.capability_major) &&
                       PathExists(JoinPath(FolderOf(trainer), kCudaPluginName));
  if (!has_any) return {};
  return {.attention = std::string(kFusedAttention), .operators = "longrun"};
}

Devices GpuSlots(std::vector<GpuName> gpus, const HostCpu& cpu, const std::string& trainer) {
  const int n_gpus = static_cast<int>(gpus.size());
  const std::int64_t n_sharing = std::ranges::count_if(gpus, HasNoMemoryOfItsOwn);
  Devices devices;
  devices.slots.reserve(gpus.size());
  for (int i = 0; i < n_gpus; ++i) {
    const GpuName& gpu = gpus[static_cast<std::size_t>(i)];
    GpuKernels kernels = KernelsFor(gpu, trainer);
    devices.slots.push_back(
        {.index = i,
         .kind = DeviceKind::kGpu,
         .name = gpu.name,
         .memory_bytes = HasNoMemoryOfItsOwn(gpu) ? cpu.memory_bytes / n_sharing : gpu.memory_bytes,
         .threads = std::max(1, cpu.cores / n_gpus),
         .simd = cpu.simd,
         .linear = "aten/cuda",
         .attention = std::move(kernels.attention),
         .operators = std::move(kernels.operators)});
  }
  devices.gpus = std::move(gpus);
  return devices;
}

Status CheckTrainerOpens(const std::string& trainer, const GpuName& gpu) {
  // CUDA may take a minute to begin on a host with many GPUs.
  constexpr std::int64_t kAnswerMs = 180'000;
  constexpr std::size_t kMessageBytesMax = 1 << 20;
  SpawnOptions options = {.argv = {trainer, "gpu"},
                          .env = {"LANG=C.UTF-8", Str("CUDA_VISIBLE_DEVICES=", gpu.uuid)},
                          .own_group = true,
                          .die_with_parent = true};
  for (const char* const name : {"PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH"}) {
    if (const auto value = GetEnv(name)) options.env.push_back(Str(name, "=", *value));
  }
  ASSIGN_OR_RETURN(const ChildRun run, RunChild(options, {.timeout_ms = kAnswerMs,
                                                          .printed_bytes_max = kMessageBytesMax}));
  const std::string of_gpu = Str("GPU ", gpu.place.gpu, " (", gpu.name, ", ", gpu.uuid, ")");
  const std::string remedy = "; or start with --cpu-slots 1 to compute on the processors";
  if (run.is_late) {
    return Status(Code::kUnavailable, Str("the trainer could not open ", of_gpu, " within ",
                                          kAnswerMs / 1000, " s: see nvidia-smi", remedy));
  }
  if (run.ok()) return Status();
  return Status(Code::kFailedPrecondition,
                Str("the trainer cannot compute on ", of_gpu, ": ", run.Complaint(), remedy));
}

Result<Devices> DetectDevices(int cpu_slots, const std::string& trainer) {
  const HostCpu cpu = DetectHostCpu();
  if (cpu_slots > 0) return Devices{.slots = CpuSlots(cpu, cpu_slots)};
  ASSIGN_OR_RETURN(const std::vector<GpuName> gpus, DetectGpus());
  const std::optional<std::string> visible = GetEnv("CUDA_VISIBLE_DEVICES");
  ASSIGN_OR_RETURN(std::vector<GpuName> usable, VisibleGpus(gpus, visible));
  if (usable.empty()) return Devices{.slots = CpuSlots(cpu, 0)};
  for (const GpuName& gpu : gpus) {
    if (!visible && LacksMigDevices(gpu)) LogWarning("gpu_unused", {{"why", WhyUnusable(gpu)}});
  }
  RETURN_IF_ERROR(CheckTrainerOpens(trainer, usable.front()));
  Devices devices = GpuSlots(std::move(usable), cpu, trainer);
  for (std::size_t i = 0; i < devices.gpus.size(); ++i) {
    if (const GpuName& gpu = devices.gpus[i]; HasNoMemoryOfItsOwn(gpu)) {
      LogWarning("gpu_memory_unknown", {{"gpu", Str(gpu.name, ", ", gpu.uuid)},
                                        {"taken", Str(devices.slots[i].memory_bytes)},
                                        {"why", kWhyMachineMemory}});
    }
  }
  return devices;
}

}  // namespace longrun::agent
