#include "kernels/cuda/cross_entropy-inl.h"
#include "kernels/cuda/launch-inl.h"

namespace longrun {
namespace gpu {

LR_COMPILE_KERNEL(CrossEntropyKernel<GpuLayer, float, true>);
LR_COMPILE_KERNEL(CrossEntropyKernel<GpuLayer, float, false>);
LR_COMPILE_KERNEL(CrossEntropyKernel<GpuLayer, Bf16Bits, true>);
LR_COMPILE_KERNEL(CrossEntropyKernel<GpuLayer, Bf16Bits, false>);
LR_COMPILE_KERNEL(CrossEntropyKernel<GpuLayer, Fp16Bits, true>);
LR_COMPILE_KERNEL(CrossEntropyKernel<GpuLayer, Fp16Bits, false>);

}  // namespace gpu
}  // namespace longrun
