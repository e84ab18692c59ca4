// The Device (attention-inl.h) of an NVIDIA GPU. The kernels are compiled in several sources, so
// that they compile at the same time: each has an instantiation of Launch for its kernels.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/gpu_layer.h"

namespace longrun {
namespace gpu {

struct GpuDevice {
  using Layer = GpuLayer;
  cudaStream_t stream = nullptr;

  // What a block of the current GPU may have, in bytes. No limit after an error of CUDA, which the
  // launch then reports.
  int SharedBytesMax() const;
  // Defined in launch-inl.h.
  template <typename Kernel>
  const char* Launch(std::int64_t n_block, int shared_bytes, const typename Kernel::Params& params);
};

}  // namespace gpu
}  // namespace longrun
