#include "kernels/cuda/backward-inl.h"
#include "kernels/cuda/launch-inl.h"

namespace longrun {
namespace gpu {

LR_COMPILE_KERNEL(QueryKernel<GpuLayer, Shape<NarrowFp32Math, 128>>);
LR_COMPILE_KERNEL(KeyKernel<GpuLayer, Shape<NarrowFp32Math, 128>>);
LR_COMPILE_KERNEL(DistanceKernel<GpuLayer, Shape<NarrowFp32Math, 128>>);

}  // namespace gpu
}  // namespace longrun
