#include "kernels/cuda/backward-inl.h"
#include "kernels/cuda/launch-inl.h"

namespace longrun {
namespace gpu {

LR_COMPILE_SHAPES(QueryKernel, Fp32Math);
LR_COMPILE_SHAPES(KeyKernel, Fp32Math);
LR_COMPILE_SHAPES(DistanceKernel, Fp32Math);

}  // namespace gpu
}  // namespace longrun
