#include "kernels/cuda/launch-inl.h"
#include "kernels/cuda/norm-inl.h"

namespace longrun {
namespace gpu {

#define LR_COMPILE_NORM(Shape)                                               \
  LR_COMPILE_KERNEL(NormForwardKernel<GpuLayer, NoAddend, float, Shape>);    \
  LR_COMPILE_KERNEL(NormForwardKernel<GpuLayer, NoAddend, Bf16Bits, Shape>); \
  LR_COMPILE_KERNEL(NormForwardKernel<GpuLayer, float, float, Shape>);       \
  LR_COMPILE_KERNEL(NormForwardKernel<GpuLayer, float, Bf16Bits, Shape>);    \
  LR_COMPILE_KERNEL(NormForwardKernel<GpuLayer, Bf16Bits, float, Shape>);    \
  LR_COMPILE_KERNEL(NormForwardKernel<GpuLayer, Bf16Bits, Bf16Bits, Shape>); \
  LR_COMPILE_KERNEL(NormForwardKernel<GpuLayer, NoAddend, Fp16Bits, Shape>); \
  LR_COMPILE_KERNEL(NormForwardKernel<GpuLayer, float, Fp16Bits, Shape>);    \
  LR_COMPILE_KERNEL(NormForwardKernel<GpuLayer, Fp16Bits, float, Shape>);    \
  LR_COMPILE_KERNEL(NormForwardKernel<GpuLayer, Fp16Bits, Fp16Bits, Shape>); \
  LR_COMPILE_KERNEL(NormBackwardKernel<GpuLayer, float, Shape>);             \
  LR_COMPILE_KERNEL(NormBackwardKernel<GpuLayer, Bf16Bits, Shape>)

LR_COMPILE_NORM(ShortRows);
LR_COMPILE_NORM(MiddleRows);
LR_COMPILE_NORM(LongRows);
LR_COMPILE_NORM(AnyRows);
LR_COMPILE_NORM(UnalignedRows);

}  // namespace gpu
}  // namespace longrun
