// The definition of GpuDevice::Launch, for the sources that compile kernels.
#pragma once

#include <type_traits>

#include "kernels/cuda/launch.h"

namespace longrun {
namespace gpu {

// Code for `sm_90a` runs only on GPUs of compute capability 9.0, whose blocks have the memory of
// every kernel with wide tiles (227 KiB): those with narrow ones would only take time to compile.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
inline constexpr bool kHasNarrowTiles = false;
#else
inline constexpr bool kHasNarrowTiles = true;
#endif
template <typename Kernel, typename = void>
inline constexpr bool kIsNarrow = false;
template <typename Kernel>
inline constexpr bool kIsNarrow<Kernel, std::void_t<typename Kernel::Shape>> =
    Kernel::Shape::Math::kIsNarrow;

template <typename Kernel>
__global__ void __launch_bounds__(kThreads)
    Entry(const __grid_constant__ typename Kernel::Params params) {
  if constexpr (kIsNarrow<Kernel> && !kHasNarrowTiles) {
    __trap();
  } else {
    Kernel::Run(params);
  }
}

template <typename Kernel>
const char* GpuDevice::Launch(std::int64_t n_block, int shared_bytes,
                              const typename Kernel::Params& params) {
  constexpr std::int64_t kBlocksMax = 0x7fffffff;
  constexpr int kSharedBytesDefault = 48 << 10;  // more has to be asked for
  if (n_block > kBlocksMax) return "too many blocks";
  if (shared_bytes > kSharedBytesDefault) {
    const cudaError_t error = cudaFuncSetAttribute(
        Entry<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
    if (error != cudaSuccess) return cudaGetErrorString(error);
  }
  Entry<Kernel><<<static_cast<unsigned>(n_block), kThreads, static_cast<std::size_t>(shared_bytes),
                  stream>>>(params);
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

#define LR_COMPILE_KERNEL(...)                                           \
  template const char* GpuDevice::Launch<__VA_ARGS__>(std::int64_t, int, \
                                                      const typename __VA_ARGS__::Params&)
#define LR_COMPILE_NARROW(Kernel, Math, Known)                 \
  LR_COMPILE_KERNEL(Kernel<GpuLayer, Shape<Math, 64, Known>>); \
  LR_COMPILE_KERNEL(Kernel<GpuLayer, Shape<Math, 128, Known>>)
#define LR_COMPILE_FEW(Kernel, Math)              \
  LR_COMPILE_NARROW(Kernel, Math, PlainParams);   \
  LR_COMPILE_NARROW(Kernel, Math, KeyBiasParams); \
  LR_COMPILE_NARROW(Kernel, Math, TableParams)
#define LR_COMPILE_PIECES(Kernel, Math)          \
  LR_COMPILE_NARROW(Kernel, Math, PiecesParams); \
  LR_COMPILE_NARROW(Kernel, Math, MaskedParams<PiecesParams>)
#define LR_COMPILE_TWO_SIDED(Kernel, Math)         \
  LR_COMPILE_NARROW(Kernel, Math, TwoSidedParams); \
  LR_COMPILE_NARROW(Kernel, Math, MaskedParams<TwoSidedParams>)
#define LR_COMPILE_MASKED(Kernel, Math)                         \
  LR_COMPILE_NARROW(Kernel, Math, MaskedParams<PlainParams>);   \
  LR_COMPILE_NARROW(Kernel, Math, MaskedParams<KeyBiasParams>); \
  LR_COMPILE_NARROW(Kernel, Math, MaskedParams<TableParams>)
#define LR_COMPILE_ANY(Kernel, Math, Known) \
  LR_COMPILE_NARROW(Kernel, Math, Known);   \
  LR_COMPILE_KERNEL(Kernel<GpuLayer, Shape<Math, 256, Known>>)
#define LR_COMPILE_NARROW_TILES(Kernel, Math, Known) \
  LR_COMPILE_KERNEL(Kernel<GpuLayer, Shape<NarrowMath<Math>, 256, Known>>)
#define LR_COMPILE_SHAPES(Kernel, Math) LR_COMPILE_ANY(Kernel, Math, Params)

}  // namespace gpu
}  // namespace longrun
