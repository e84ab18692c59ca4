#include "kernels/cuda/backward-inl.h"
#include "kernels/cuda/launch-inl.h"

namespace longrun {
namespace gpu {

LR_COMPILE_SHAPES(QueryKernel, Bf16Math);
LR_COMPILE_SHAPES(KeyKernel, Bf16Math);
LR_COMPILE_SHAPES(DistanceKernel, Bf16Math);

}  // namespace gpu
}  // namespace longrun
