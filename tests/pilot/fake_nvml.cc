// The functions of NVIDIA's management library that the worker loads, for two GPUs that are not
// there. FAKE_NVML_MIG=1: the second GPU is in MIG mode, with devices at two of its seven places.
// FAKE_NVML_MIG=2: so is the first GPU, but without a MIG device. With FAKE_NVML_OLD, this is the
// library of a driver that knows no MIG mode. FAKE_NVML_SHARED=1: the first GPU has no memory of
// its own; FAKE_NVML_SHARED=BROKEN: its memory cannot be read.
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace {

constexpr unsigned kGpus = 2, kMigPlaces = 7;
constexpr int kOk = 0, kInvalidArgument = 2, kNotSupported = 3, kNoPermission = 4, kUnknown = 999;
struct Memory {
  unsigned long long total, free, used;
};
struct Utilization {
  unsigned gpu, memory;
};

// What a handle is: the number of a GPU, and for a MIG device its place there and 1.
struct Device {
  unsigned gpu = 0, mig_and_one = 0;
};
void* HandleOf(Device device) {
  return reinterpret_cast<void*>(std::uintptr_t{16} * device.mig_and_one + device.gpu + 1);
}
Device DeviceOf(void* handle) {
  const auto bits = static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(handle));
  return {.gpu = bits % 16 - 1, .mig_and_one = bits / 16};
}
bool IsMig(void* handle) { return DeviceOf(handle).mig_and_one > 0; }

}  // namespace

extern "C" {

int nvmlInit_v2();
int nvmlShutdown();
int nvmlDeviceGetCount_v2(unsigned* count);
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device);
int nvmlDeviceGetName(void* device, char* text, unsigned n_bytes);
int nvmlDeviceGetUUID(void* device, char* text, unsigned n_bytes);
int nvmlDeviceGetMemoryInfo(void* device, Memory* memory);
int nvmlDeviceGetUtilizationRates(void* device, Utilization* utilization);
int nvmlDeviceGetPowerUsage(void* device, unsigned* milliwatts);
int nvmlDeviceGetTemperature(void* device, int sensor, unsigned* celsius);
int nvmlDeviceGetCudaComputeCapability(void* device, int* major, int* minor);
#ifndef FAKE_NVML_OLD
int nvmlDeviceGetMigMode(void* device, unsigned* current, unsigned* pending);
int nvmlDeviceGetMaxMigDeviceCount(void* device, unsigned* count);
int nvmlDeviceGetMigDeviceHandleByIndex(void* device, unsigned index, void** mig_device);
int nvmlDeviceGetGpuInstanceId(void* device, unsigned* id);
int nvmlDeviceGetComputeInstanceId(void* device, unsigned* id);
#endif

int nvmlInit_v2() { return kOk; }
int nvmlShutdown() { return kOk; }
int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = kGpus;
  return kOk;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) {
  if (index >= kGpus) return kInvalidArgument;
  *device = HandleOf({.gpu = index});
  return kOk;
}
int nvmlDeviceGetName(void* device, char* text, unsigned n_bytes) {
  std::snprintf(text, n_bytes, "Imagined GPU%s", IsMig(device) ? " MIG 1g.10gb" : "");
  return kOk;
}
int nvmlDeviceGetUUID(void* device, char* text, unsigned n_bytes) {
  const Device it = DeviceOf(device);
  if (IsMig(device)) {
    std::snprintf(text, n_bytes, "MIG-imagined-%u-%u", it.gpu, it.mig_and_one - 1);
  } else {
    std::snprintf(text, n_bytes, "GPU-imagined-%u", it.gpu);
  }
  return kOk;
}
int nvmlDeviceGetMemoryInfo(void* device, Memory* memory) {
#ifndef FAKE_NVML_OLD
  // As for an ordinary user.
  unsigned current = 0, pending = 0;
  const bool has_mode = nvmlDeviceGetMigMode(device, &current, &pending) == kOk;
  if (!IsMig(device) && has_mode && current == 1) return kNoPermission;
#endif
  const char* const shared = std::getenv("FAKE_NVML_SHARED");
  if (shared != nullptr && DeviceOf(device).gpu == 0) {
    return *shared == '1' ? kNotSupported : kUnknown;
  }
  const unsigned long long total = (IsMig(device) ? 10ull : 80ull) << 30;
  *memory = {.total = total, .free = total, .used = 0};
  return kOk;
}
int nvmlDeviceGetUtilizationRates(void* device, Utilization* utilization) {
  if (IsMig(device)) return kNotSupported;
  *utilization = {.gpu = 0, .memory = 0};
  return kOk;
}
int nvmlDeviceGetPowerUsage(void* device, unsigned* milliwatts) {
  if (IsMig(device)) return kNotSupported;
  *milliwatts = 70'000;
  return kOk;
}
int nvmlDeviceGetTemperature(void* device, int, unsigned* celsius) {
  if (IsMig(device)) return kInvalidArgument;
  *celsius = 30;
  return kOk;
}
int nvmlDeviceGetCudaComputeCapability(void* device, int* major, int* minor) {
  if (IsMig(device)) return kInvalidArgument;
  *major = 9;
  *minor = 0;
  return kOk;
}
#ifndef FAKE_NVML_OLD
int nvmlDeviceGetMigMode(void* device, unsigned* current, unsigned* pending) {
  const char* const n_gpus = std::getenv("FAKE_NVML_MIG");
  if (n_gpus == nullptr) return kNotSupported;
  const bool has_mode = DeviceOf(device).gpu + static_cast<unsigned>(std::atoi(n_gpus)) >= kGpus;
  *current = *pending = has_mode ? 1 : 0;
  return kOk;
}
int nvmlDeviceGetMaxMigDeviceCount(void*, unsigned* count) {
  *count = kMigPlaces;
  return kOk;
}
int nvmlDeviceGetMigDeviceHandleByIndex(void* device, unsigned index, void** mig_device) {
  constexpr int kNotFound = 6;
  const unsigned gpu = DeviceOf(device).gpu;
  if (gpu == 0 || (index != 0 && index != 2)) return kNotFound;
  *mig_device = HandleOf({.gpu = gpu, .mig_and_one = index + 1});
  return kOk;
}
int nvmlDeviceGetGpuInstanceId(void* device, unsigned* id) {
  *id = DeviceOf(device).mig_and_one + 6;
  return kOk;
}
int nvmlDeviceGetComputeInstanceId(void*, unsigned* id) {
  *id = 0;
  return kOk;
}
#endif
}
