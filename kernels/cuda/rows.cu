#include "kernels/cuda/launch-inl.h"
#include "kernels/cuda/rows-inl.h"

namespace longrun {
namespace gpu {

LR_COMPILE_KERNEL(TurnKernel<GpuLayer>);
LR_COMPILE_KERNEL(TurnPairsKernel<GpuLayer>);
LR_COMPILE_KERNEL(ConvertKernel<GpuLayer>);
LR_COMPILE_KERNEL(ZeroKernel<GpuLayer>);
LR_COMPILE_KERNEL(DeltaKernel<GpuLayer>);
LR_COMPILE_KERNEL(SumKernel<GpuLayer>);

}  // namespace gpu
}  // namespace longrun
