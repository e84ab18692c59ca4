// The functions that the plug-in exports (kernels/cuda_plugin.h).
#include <cuda_runtime_api.h>

#include <cstring>

#include "kernels/cuda/attention-inl.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/row_calls-inl.h"
#include "kernels/cuda_plugin.h"

namespace longrun {
namespace gpu {

int GpuDevice::SharedBytesMax() const {
  constexpr int kUnknownBytes = 0x7fffffff;
  int ordinal = 0, n_byte = 0;
  cudaError_t error = cudaGetDevice(&ordinal);
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&n_byte, cudaDevAttrMaxSharedMemoryPerBlockOptin, ordinal);
  }
  return error == cudaSuccess ? n_byte : kUnknownBytes;
}

namespace {

// Makes the GPU of a call the thread's current one, and the one before again at the end.
class CurrentGpu {
 public:
  // Views of nothing lie nowhere: the first that lies on a GPU says which.
  CurrentGpu(const LongrunMemory& q, const LongrunMemory& k, const LongrunMemory& terms) {
    constexpr std::int32_t kCuda = 1;
    const LongrunMemory& memory = q.kind == kCuda ? q : k.kind == kCuda ? k : terms;
    error_ = cudaGetDevice(&before_);
    if (error_ != cudaSuccess || memory.kind != kCuda || memory.ordinal == before_) return;
    error_ = cudaSetDevice(memory.ordinal);
    is_other_ = error_ == cudaSuccess;
  }
  CurrentGpu(const CurrentGpu&) = delete;
  CurrentGpu& operator=(const CurrentGpu&) = delete;
  ~CurrentGpu() {
    if (is_other_) cudaSetDevice(before_);
  }
  const char* error() const { return error_ == cudaSuccess ? nullptr : cudaGetErrorString(error_); }

 private:
  int before_ = 0;
  bool is_other_ = false;
  cudaError_t error_ = cudaSuccess;
};

template <typename Call>
const char* RunOnGpu(const Call& call, const LongrunRowOptions& options) {
  const CurrentGpu gpu(options.memory, options.memory, options.memory);
  if (gpu.error() != nullptr) return gpu.error();
  GpuDevice device{static_cast<cudaStream_t>(options.stream)};
  return RunRows(call, options, device);
}

}  // namespace
}  // namespace gpu
}  // namespace longrun

extern "C" std::int32_t LongrunGetCudaVersion() { return kLongrunCudaVersion; }

extern "C" const char* LongrunGetCudaArchitectures() { return LONGRUN_CUDA_ARCHITECTURES; }

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

extern "C" const char* LongrunAttentionForward(const LongrunAttentionForwardCall* call,
                                               const LongrunAttentionTerms* terms,
                                               const LongrunAttentionOptions* options) {
  const longrun::gpu::CurrentGpu gpu(call->q.memory, call->k.memory, terms->memory);
  if (gpu.error() != nullptr) return gpu.error();
  longrun::gpu::GpuDevice device{static_cast<cudaStream_t>(options->stream)};
  return longrun::gpu::ForwardAttention(*call, *terms, *options, device);
}

extern "C" const char* LongrunAttentionBackward(const LongrunAttentionBackwardCall* call,
                                                const LongrunAttentionTerms* terms,
                                                const LongrunAttentionOptions* options) {
  const longrun::gpu::CurrentGpu gpu(call->q.memory, call->k.memory, terms->memory);
  if (gpu.error() != nullptr) return gpu.error();
  longrun::gpu::GpuDevice device{static_cast<cudaStream_t>(options->stream)};
  return longrun::gpu::BackwardAttention(*call, *terms, *options, device);
}

extern "C" const char* LongrunNormForward(const LongrunNormForwardCall* call,
                                          const LongrunRowOptions* options) {
  return longrun::gpu::RunOnGpu(*call, *options);
}

extern "C" const char* LongrunNormBackward(const LongrunNormBackwardCall* call,
                                           const LongrunRowOptions* options) {
  return longrun::gpu::RunOnGpu(*call, *options);
}

extern "C" const char* LongrunActivationForward(const LongrunActivationForwardCall* call,
                                                const LongrunRowOptions* options) {
  return longrun::gpu::RunOnGpu(*call, *options);
}

extern "C" const char* LongrunActivationBackward(const LongrunActivationBackwardCall* call,
                                                 const LongrunRowOptions* options) {
  return longrun::gpu::RunOnGpu(*call, *options);
}

extern "C" const char* LongrunCrossEntropy(const LongrunCrossEntropyCall* call,
                                           const LongrunRowOptions* options) {
  return longrun::gpu::RunOnGpu(*call, *options);
}

extern "C" const char* LongrunColumnSum(const LongrunColumnSumCall* call,
                                        const LongrunRowOptions* options) {
  return longrun::gpu::RunOnGpu(*call, *options);
}

extern "C" const char* LongrunKeyBiasForward(const LongrunKeyBiasForwardCall* call,
                                             const LongrunRowOptions* options) {
  return longrun::gpu::RunOnGpu(*call, *options);
}

extern "C" const char* LongrunKeyBiasBackward(const LongrunKeyBiasBackwardCall* call,
                                              const LongrunRowOptions* options) {
  return longrun::gpu::RunOnGpu(*call, *options);
}

extern "C" const char* LongrunAdamW(const LongrunAdamWCall* call,
                                    const LongrunRowOptions* options) {
  return longrun::gpu::RunOnGpu(*call, *options);
}
