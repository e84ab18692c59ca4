#include "kernels/cuda/activation-inl.h"
#include "kernels/cuda/launch-inl.h"

namespace longrun {
namespace gpu {

#define LR_COMPILE_OPERATION(Op)                                  \
  LR_COMPILE_KERNEL(ElementKernel<GpuLayer, float, Op, true>);    \
  LR_COMPILE_KERNEL(ElementKernel<GpuLayer, float, Op, false>);   \
  LR_COMPILE_KERNEL(ElementKernel<GpuLayer, Bf16Bits, Op, true>); \
  LR_COMPILE_KERNEL(ElementKernel<GpuLayer, Bf16Bits, Op, false>)

LR_COMPILE_KERNEL(ElementKernel<GpuLayer, Fp16Bits, ActivateForward, true>);
LR_COMPILE_KERNEL(ElementKernel<GpuLayer, Fp16Bits, ActivateForward, false>);
LR_COMPILE_KERNEL(ElementKernel<GpuLayer, Fp16Bits, GateForward, true>);
LR_COMPILE_KERNEL(ElementKernel<GpuLayer, Fp16Bits, GateForward, false>);
LR_COMPILE_OPERATION(ActivateForward);
LR_COMPILE_OPERATION(ActivateBackward);
LR_COMPILE_OPERATION(GateForward);
LR_COMPILE_OPERATION(GateBackward);
LR_COMPILE_OPERATION(SumOnly);
LR_COMPILE_KERNEL(PartialSumKernel<GpuLayer>);

}  // namespace gpu
}  // namespace longrun
