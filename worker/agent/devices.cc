// See devices.h.
#include "worker/agent/devices.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>
#include <utility>

#include "base/cpu.h"
#include "base/files.h"
#include "base/str.h"
#include "model/matrix_path.h"
#include "worker/agent/nvml.h"

namespace longrun {
namespace {

// What at::native's dispatcher asks of the CPU for each of its names.
std::string DetectSimd() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  if (avx512) return "avx512";
  if (avx2) return "avx2";
#endif
  return "default";
}

// The smallest memory limit of our cgroup and those above it (version 2).
std::optional<std::int64_t> CgroupMemoryMax() {
  const Result<std::string> groups = ReadFile("/proc/self/cgroup");
  if (!groups) return std::nullopt;
  std::optional<std::int64_t> smallest;
  for (const std::string& line : Split(*groups, '\n')) {
    if (!line.starts_with("0::")) continue;
    for (std::string group = line.substr(3); !group.empty();
         group = group.substr(0, group.rfind('/'))) {
      const std::string folder = group == "/" ? "/sys/fs/cgroup" : Str("/sys/fs/cgroup", group);
      const Result<std::string> text = ReadFile(folder + "/memory.max");
      std::int64_t limit = 0;
      if (!text) continue;
      const auto parsed = std::from_chars(text->data(), text->data() + text->size(), limit);
      if (parsed.ec != std::errc()) continue;  // "max"
      smallest = std::min(smallest.value_or(limit), limit);
    }
  }
  return smallest;
}

Result<std::vector<GpuName>> DetectGpus() {
  ASSIGN_OR_RETURN(const std::unique_ptr<Nvml> nvml, Nvml::Open());
  if (nvml == nullptr) return std::vector<GpuName>();
  return nvml->Gpus();
}

}  // namespace

HostCpu DetectHostCpu() {
  HostCpu cpu;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) cpu.cores = std::max(1, CPU_COUNT(&set));
  cpu.memory_bytes = std::int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  if (const auto limit = CgroupMemoryMax()) cpu.memory_bytes = std::min(cpu.memory_bytes, *limit);
  const CpuIdentity identity = IdentifyCpu();
  cpu.name = identity.name;
  cpu.vendor = identity.vendor;
  cpu.simd = DetectSimd();
  return cpu;
}

std::string LinearPathOf(const HostCpu& cpu) {
  return MatrixPathName(FasterMatrixPath(cpu.vendor, cpu.simd), cpu.vendor);
}

std::vector<DeviceSlot> CpuSlots(const HostCpu& cpu, int n_slots) {
  if (n_slots <= 0) {
    const std::int64_t fitting = cpu.memory_bytes / kCpuSlotBytesMin;
    n_slots = static_cast<int>(std::clamp<std::int64_t>(fitting, 1, cpu.cores));
  }
  std::vector<DeviceSlot> slots;
  slots.reserve(static_cast<std::size_t>(n_slots));
  for (int i = 0; i < n_slots; ++i) {
    slots.push_back({.index = i,
                     .kind = "cpu",
                     .name = cpu.name,
                     .memory_bytes = cpu.memory_bytes / n_slots,
                     .threads = std::max(1, cpu.cores / n_slots),
                     .simd = cpu.simd,
                     .linear = LinearPathOf(cpu)});
  }
  return slots;
}

Result<std::vector<DeviceSlot>> DetectDevices(int cpu_slots) {
  const HostCpu cpu = DetectHostCpu();
  if (cpu_slots > 0) return CpuSlots(cpu, cpu_slots);
  ASSIGN_OR_RETURN(const std::vector<GpuName> gpus, DetectGpus());
  if (gpus.empty()) return CpuSlots(cpu, 0);
  std::vector<DeviceSlot> slots;
  const int n_gpus = static_cast<int>(gpus.size());
  slots.reserve(gpus.size());
  for (int i = 0; i < n_gpus; ++i) {
    const GpuName& gpu = gpus[static_cast<std::size_t>(i)];
    slots.push_back({.index = i,
                     .kind = "gpu",
                     .name = gpu.name,
                     .memory_bytes = gpu.memory_bytes,
                     .threads = std::max(1, cpu.cores / n_gpus),
                     .simd = cpu.simd,
                     .linear = "aten/cuda"});
  }
  return slots;
}

}  // namespace longrun
