#include "kernels/cuda/backward-inl.h"
#include "kernels/cuda/launch-inl.h"

namespace longrun {
namespace gpu {

LR_COMPILE_SHAPES(QueryKernel, Bf16Math);
LR_COMPILE_SHAPES(KeyKernel, Bf16Math);
LR_COMPILE_SHAPES(DistanceKernel, Bf16Math);
LR_COMPILE_NARROW(DistanceKernel, Bf16Math, TableParams);
LR_COMPILE_NARROW(DistanceKernel, Bf16Math, PiecesParams);

}  // namespace gpu
}  // namespace longrun
