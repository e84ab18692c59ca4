#include "kernels/cuda/launch-inl.h"
#include "kernels/cuda/norm-inl.h"
#include "kernels/cuda/row_layer.h"

namespace longrun {
namespace gpu {

#define LR_COMPILE_NORM(Shape)                                                  \
  LR_COMPILE_KERNEL(NormForwardKernel<GpuRowLayer, NoAddend, float, Shape>);    \
  LR_COMPILE_KERNEL(NormForwardKernel<GpuRowLayer, NoAddend, Bf16Bits, Shape>); \
  LR_COMPILE_KERNEL(NormForwardKernel<GpuRowLayer, float, float, Shape>);       \
  LR_COMPILE_KERNEL(NormForwardKernel<GpuRowLayer, float, Bf16Bits, Shape>);    \
  LR_COMPILE_KERNEL(NormForwardKernel<GpuRowLayer, Bf16Bits, float, Shape>);    \
  LR_COMPILE_KERNEL(NormForwardKernel<GpuRowLayer, Bf16Bits, Bf16Bits, Shape>); \
  LR_COMPILE_KERNEL(NormBackwardKernel<GpuRowLayer, float, Shape>);             \
  LR_COMPILE_KERNEL(NormBackwardKernel<GpuRowLayer, Bf16Bits, Shape>)

LR_COMPILE_NORM(ShortRows);
LR_COMPILE_NORM(MiddleRows);
LR_COMPILE_NORM(LongRows);
LR_COMPILE_NORM(AnyRows);
LR_COMPILE_NORM(UnalignedRows);

}  // namespace gpu
}  // namespace longrun
