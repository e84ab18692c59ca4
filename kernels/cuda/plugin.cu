#include <cuda_runtime_api.h>

#include <cstring>

#include "kernels/cuda_plugin.h"

extern "C" std::int32_t LongrunGetCudaVersion() { return kLongrunCudaVersion; }

extern "C" const char* LongrunDescribeGpu(int ordinal, LongrunGpu* gpu) {
  cudaDeviceProp properties;
  const cudaError_t error = cudaGetDeviceProperties(&properties, ordinal);
  if (error != cudaSuccess) return cudaGetErrorString(error);
  std::strncpy(gpu->name, properties.name, sizeof gpu->name - 1);
  gpu->name[sizeof gpu->name - 1] = '\0';
  gpu->memory_bytes = static_cast<std::int64_t>(properties.totalGlobalMem);
  gpu->capability_major = properties.major;
  gpu->capability_minor = properties.minor;
  return nullptr;
}

extern "C" const char* LongrunAttentionForward(const LongrunAttentionForwardCall*,
                                               const LongrunAttentionTerms*,
                                               const LongrunAttentionOptions*) {
  return "this build has no attention";
}

extern "C" const char* LongrunAttentionBackward(const LongrunAttentionBackwardCall*,
                                                const LongrunAttentionTerms*,
                                                const LongrunAttentionOptions*) {
  return "this build has no attention";
}
