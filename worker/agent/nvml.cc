#include "worker/agent/nvml.h"

#include <dlfcn.h>

#include <utility>

#include "base/files.h"
#include "base/str.h"

namespace longrun::agent {
namespace {

struct NvmlMemory {
  unsigned long long total = 0, free = 0, used = 0;
};
struct NvmlUtilization {
  unsigned gpu = 0, memory = 0;  // percent
};
using NvmlDevice = void*;
constexpr int kTemperatureOfGpu = 0;
constexpr unsigned kMigModeOn = 1;
constexpr int kInvalidArgument = 2, kNotSupported = 3, kNoPermission = 4, kNotFound = 6;

// What NVML says of a place for a MIG device that has none, or whose device belongs to another
// container.
bool IsEmptyPlace(int code) {
  return code == kNotFound || code == kInvalidArgument || code == kNoPermission;
}

template <typename Function>
Status Load(void* library, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(library, name));
  if (function != nullptr) return Status();
  return Status(Code::kInternal, Str("libnvidia-ml.so.1 has no ", name, ": update the driver"));
}

Status NvmlStatus(int code, std::string_view call) {
  if (code == 0) return Status();
  return Status(Code::kInternal, Str("NVML: ", call, " gave error ", code,
                                     "; look at nvidia-smi, or start with --cpu-slots"));
}

}  // namespace

struct Nvml::Functions {
  std::unique_ptr<void, int (*)(void*)> library{nullptr, &dlclose};
  bool initialised = false;
  int (*init)() = nullptr;
  int (*shutdown)() = nullptr;
  int (*count)(unsigned*) = nullptr;
  int (*handle)(unsigned, NvmlDevice*) = nullptr;
  int (*name)(NvmlDevice, char*, unsigned) = nullptr;
  int (*uuid)(NvmlDevice, char*, unsigned) = nullptr;
  int (*memory)(NvmlDevice, NvmlMemory*) = nullptr;
  int (*utilization)(NvmlDevice, NvmlUtilization*) = nullptr;
  int (*power)(NvmlDevice, unsigned*) = nullptr;  // milliwatts
  int (*temperature)(NvmlDevice, int, unsigned*) = nullptr;
  int (*capability)(NvmlDevice, int*, int*) = nullptr;
  // Null in drivers before R450, which have no MIG mode.
  int (*mig_mode)(NvmlDevice, unsigned* current, unsigned* pending) = nullptr;
  int (*mig_places)(NvmlDevice, unsigned*) = nullptr;
  int (*mig_handle)(NvmlDevice, unsigned, NvmlDevice*) = nullptr;
  int (*gpu_instance)(NvmlDevice, unsigned*) = nullptr;
  int (*compute_instance)(NvmlDevice, unsigned*) = nullptr;

  ~Functions() {
    if (initialised) shutdown();
  }

  Result<GpuName> NameOf(NvmlDevice device) const {
    char text[96] = {}, id[96] = {};
    NvmlMemory bytes;
    RETURN_IF_ERROR(NvmlStatus(name(device, text, sizeof text), "nvmlDeviceGetName"));
    RETURN_IF_ERROR(NvmlStatus(uuid(device, id, sizeof id), "nvmlDeviceGetUUID"));
    // Only privileged users are told the memory of a whole GPU in MIG mode, and nobody needs it.
    const int code = memory(device, &bytes);
    if (code == kNotSupported) {
      bytes = {};
    } else if (code != 0 && !InMigMode(device)) {
      return NvmlStatus(code, "nvmlDeviceGetMemoryInfo");
    }
    return GpuName{
        .name = text, .uuid = id, .memory_bytes = static_cast<std::int64_t>(bytes.total)};
  }

  bool InMigMode(NvmlDevice device) const {
    unsigned current = 0, pending = 0;
    // GPUs without such a mode report an error.
    return mig_mode != nullptr && mig_mode(device, &current, &pending) == 0 &&
           current == kMigModeOn;
  }

  // Of a GPU in MIG mode.
  Result<std::vector<GpuName>> MigDevicesOf(NvmlDevice device, const GpuName& gpu) const {
    unsigned n_places = 0;
    RETURN_IF_ERROR(NvmlStatus(mig_places(device, &n_places), "nvmlDeviceGetMaxMigDeviceCount"));
    std::vector<GpuName> devices;
    for (unsigned i = 0; i < n_places; ++i) {
      NvmlDevice part = nullptr;
      const int code = mig_handle(device, i, &part);
      if (IsEmptyPlace(code)) continue;
      RETURN_IF_ERROR(NvmlStatus(code, "nvmlDeviceGetMigDeviceHandleByIndex"));
      unsigned instance = 0, compute = 0;
      RETURN_IF_ERROR(NvmlStatus(gpu_instance(part, &instance), "nvmlDeviceGetGpuInstanceId"));
      RETURN_IF_ERROR(
          NvmlStatus(compute_instance(part, &compute), "nvmlDeviceGetComputeInstanceId"));
      ASSIGN_OR_RETURN(GpuName named, NameOf(part));
      named.instance_name = Str("MIG-", gpu.uuid, "/", instance, "/", compute);
      named.capability_major = gpu.capability_major;
      named.capability_minor = gpu.capability_minor;
      named.place = {.gpu = gpu.place.gpu, .mig = i};
      devices.push_back(std::move(named));
    }
    return devices;
  }
};

Nvml::Nvml(std::unique_ptr<Functions> functions) : functions_(std::move(functions)) {}
Nvml::~Nvml() = default;

Result<std::unique_ptr<Nvml>> Nvml::Open() {
  // Without the driver's folder there is no driver; a library without a driver (as in an image made
  // for GPU machines) means nothing.
  if (!PathExists("/proc/driver/nvidia/version")) return std::unique_ptr<Nvml>();
  return OpenLibrary("libnvidia-ml.so.1");
}

Result<std::unique_ptr<Nvml>> Nvml::OpenLibrary(const std::string& file) {
  auto f = std::make_unique<Functions>();
  f->library.reset(dlopen(file.c_str(), RTLD_NOW));
  if (f->library == nullptr) {
    return Status(Code::kInternal,
                  Str("an NVIDIA driver is loaded, but its library is not found: ", dlerror(),
                      "; install libnvidia-ml, or start with --cpu-slots"));
  }
  void* const library = f->library.get();
  RETURN_IF_ERROR(Load(library, "nvmlInit_v2", f->init));
  RETURN_IF_ERROR(Load(library, "nvmlShutdown", f->shutdown));
  RETURN_IF_ERROR(Load(library, "nvmlDeviceGetCount_v2", f->count));
  RETURN_IF_ERROR(Load(library, "nvmlDeviceGetHandleByIndex_v2", f->handle));
  RETURN_IF_ERROR(Load(library, "nvmlDeviceGetName", f->name));
  RETURN_IF_ERROR(Load(library, "nvmlDeviceGetUUID", f->uuid));
  RETURN_IF_ERROR(Load(library, "nvmlDeviceGetMemoryInfo", f->memory));
  RETURN_IF_ERROR(Load(library, "nvmlDeviceGetUtilizationRates", f->utilization));
  RETURN_IF_ERROR(Load(library, "nvmlDeviceGetPowerUsage", f->power));
  RETURN_IF_ERROR(Load(library, "nvmlDeviceGetTemperature", f->temperature));
  // Without it, the worker only does not offer what a new GPU can do.
  (void)Load(library, "nvmlDeviceGetCudaComputeCapability", f->capability);
  if (Load(library, "nvmlDeviceGetMigMode", f->mig_mode).ok()) {
    RETURN_IF_ERROR(Load(library, "nvmlDeviceGetMaxMigDeviceCount", f->mig_places));
    RETURN_IF_ERROR(Load(library, "nvmlDeviceGetMigDeviceHandleByIndex", f->mig_handle));
    RETURN_IF_ERROR(Load(library, "nvmlDeviceGetGpuInstanceId", f->gpu_instance));
    RETURN_IF_ERROR(Load(library, "nvmlDeviceGetComputeInstanceId", f->compute_instance));
  }
  RETURN_IF_ERROR(NvmlStatus(f->init(), "nvmlInit"));
  f->initialised = true;
  return std::unique_ptr<Nvml>(new Nvml(std::move(f)));
}

Result<std::vector<GpuName>> Nvml::Gpus() const {
  const Functions& f = *functions_;
  unsigned n_gpus = 0;
  RETURN_IF_ERROR(NvmlStatus(f.count(&n_gpus), "nvmlDeviceGetCount"));
  std::vector<GpuName> gpus;
  gpus.reserve(n_gpus);
  for (unsigned i = 0; i < n_gpus; ++i) {
    NvmlDevice device = nullptr;
    RETURN_IF_ERROR(NvmlStatus(f.handle(i, &device), "nvmlDeviceGetHandleByIndex"));
    ASSIGN_OR_RETURN(GpuName gpu, f.NameOf(device));
    gpu.place = {.gpu = i};
    if (f.capability != nullptr) {
      (void)f.capability(device, &gpu.capability_major, &gpu.capability_minor);
    }
    gpu.in_mig_mode = f.InMigMode(device);
    if (gpu.in_mig_mode) {
      ASSIGN_OR_RETURN(gpu.mig_devices, f.MigDevicesOf(device, gpu));
    }
    gpus.push_back(std::move(gpu));
  }
  return gpus;
}

GpuUsage Nvml::UsageOf(const GpuPlace& place) const {
  const Functions& f = *functions_;
  GpuUsage usage;
  NvmlDevice device = nullptr;
  if (f.handle(place.gpu, &device) != 0) return usage;
  if (place.mig && f.mig_handle(device, *place.mig, &device) != 0) return usage;
  NvmlMemory memory;
  if (f.memory(device, &memory) == 0) {
    usage.memory_bytes = static_cast<double>(memory.total);
    usage.memory_used_bytes = static_cast<double>(memory.used);
  }
  NvmlUtilization utilization;
  if (f.utilization(device, &utilization) == 0) usage.utilization = utilization.gpu / 100.0;
  unsigned milliwatts = 0, celsius = 0;
  if (f.power(device, &milliwatts) == 0) usage.power_watts = milliwatts / 1000.0;
  if (f.temperature(device, kTemperatureOfGpu, &celsius) == 0) usage.temperature_celsius = celsius;
  return usage;
}

}  // namespace longrun::agent
