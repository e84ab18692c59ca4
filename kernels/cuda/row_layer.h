// The layer (device.h) of the kernels over rows on an NVIDIA GPU: what they need besides
// attention's:
//
//   StoreWords      16 bytes to global memory, at a multiple of 16
//   Reciprocal      1 / x, in one instruction, with an error of one unit in the last place
#pragma once

#include "kernels/cuda/gpu_layer.h"

namespace longrun {
namespace gpu {

struct GpuRowLayer : GpuLayer {
  static __device__ __forceinline__ void StoreWords(void* to, const std::uint32_t (&words)[4]) {
    // The compiler splits an assignment into words, and does not always join them again.
    __stcg(static_cast<uint4*>(to), make_uint4(words[0], words[1], words[2], words[3]));
  }
  static __device__ __forceinline__ float Reciprocal(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
  }
};

}  // namespace gpu
}  // namespace longrun
