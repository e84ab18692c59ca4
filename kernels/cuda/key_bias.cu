#include "kernels/cuda/key_bias-inl.h"

#include "kernels/cuda/launch-inl.h"

namespace longrun {
namespace gpu {

LR_COMPILE_KERNEL(KeyBiasRangesKernel<GpuLayer, false>);
LR_COMPILE_KERNEL(KeyBiasRangesKernel<GpuLayer, true>);
LR_COMPILE_KERNEL(KeyBiasKernel<GpuLayer, false>);
LR_COMPILE_KERNEL(KeyBiasKernel<GpuLayer, true>);

}  // namespace gpu
}  // namespace longrun
