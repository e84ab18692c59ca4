#include "kernels/cuda/backward-inl.h"
#include "kernels/cuda/launch-inl.h"

namespace longrun {
namespace gpu {

LR_COMPILE_NARROW_TILES(QueryKernel, Bf16Math, Params);
LR_COMPILE_NARROW_TILES(KeyKernel, Bf16Math, Params);
LR_COMPILE_NARROW_TILES(DistanceKernel, Bf16Math, Params);
LR_COMPILE_NARROW_TILES(QueryKernel, Fp32Math, Params);
LR_COMPILE_NARROW_TILES(KeyKernel, Fp32Math, Params);
LR_COMPILE_NARROW_TILES(DistanceKernel, Fp32Math, Params);
LR_COMPILE_KERNEL(QueryKernel<GpuLayer, Shape<NarrowMath<Fp32Math>, 128>>);
LR_COMPILE_KERNEL(KeyKernel<GpuLayer, Shape<NarrowMath<Fp32Math>, 128>>);
LR_COMPILE_KERNEL(DistanceKernel<GpuLayer, Shape<NarrowMath<Fp32Math>, 128>>);

}  // namespace gpu
}  // namespace longrun
