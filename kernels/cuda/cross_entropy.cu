#include "kernels/cuda/cross_entropy-inl.h"
#include "kernels/cuda/launch-inl.h"
#include "kernels/cuda/row_layer.h"

namespace longrun {
namespace gpu {

LR_COMPILE_KERNEL(CrossEntropyKernel<GpuRowLayer, float, true>);
LR_COMPILE_KERNEL(CrossEntropyKernel<GpuRowLayer, float, false>);
LR_COMPILE_KERNEL(CrossEntropyKernel<GpuRowLayer, Bf16Bits, true>);
LR_COMPILE_KERNEL(CrossEntropyKernel<GpuRowLayer, Bf16Bits, false>);

}  // namespace gpu
}  // namespace longrun
