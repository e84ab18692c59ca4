#include "kernels/cuda/backward-inl.h"
#include "kernels/cuda/launch-inl.h"

namespace longrun {
namespace gpu {

LR_COMPILE_FEW(QueryKernel, Fp32Math);
LR_COMPILE_FEW(KeyKernel, Fp32Math);
LR_COMPILE_NARROW(DistanceKernel, Fp32Math, TableParams);

}  // namespace gpu
}  // namespace longrun
