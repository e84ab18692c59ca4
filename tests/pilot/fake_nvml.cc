// The functions of NVIDIA's management library that the worker loads, for two GPUs that are not
// there.
#include <cstdint>
#include <cstdio>

namespace {

constexpr unsigned kGpus = 2;
struct Memory {
  unsigned long long total, free, used;
};
struct Utilization {
  unsigned gpu, memory;
};

unsigned IndexOf(void* device) {
  return static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(device)) - 1;
}

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

int nvmlInit_v2() { return 0; }
int nvmlShutdown() { return 0; }
int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = kGpus;
  return 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) {
  if (index >= kGpus) return 2;
  *device = reinterpret_cast<void*>(static_cast<std::uintptr_t>(index + 1));
  return 0;
}
int nvmlDeviceGetName(void*, char* text, unsigned n_bytes) {
  std::snprintf(text, n_bytes, "Imagined GPU");
  return 0;
}
int nvmlDeviceGetUUID(void* device, char* text, unsigned n_bytes) {
  std::snprintf(text, n_bytes, "GPU-imagined-%u", IndexOf(device));
  return 0;
}
int nvmlDeviceGetMemoryInfo(void*, Memory* memory) {
  *memory = {.total = 80ull << 30, .free = 80ull << 30, .used = 0};
  return 0;
}
int nvmlDeviceGetUtilizationRates(void*, Utilization* utilization) {
  *utilization = {.gpu = 0, .memory = 0};
  return 0;
}
int nvmlDeviceGetPowerUsage(void*, unsigned* milliwatts) {
  *milliwatts = 70'000;
  return 0;
}
int nvmlDeviceGetTemperature(void*, int, unsigned* celsius) {
  *celsius = 30;
  return 0;
}
int nvmlDeviceGetCudaComputeCapability(void*, int* major, int* minor) {
  *major = 9;
  *minor = 0;
  return 0;
}
}
