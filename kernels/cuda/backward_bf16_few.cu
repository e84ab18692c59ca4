#include "kernels/cuda/backward-inl.h"
#include "kernels/cuda/launch-inl.h"

namespace longrun {
namespace gpu {

LR_COMPILE_NARROW(QueryKernel, Bf16Math, PlainParams);
LR_COMPILE_NARROW(KeyKernel, Bf16Math, PlainParams);
LR_COMPILE_NARROW(QueryKernel, Bf16Math, KeyBiasParams);
LR_COMPILE_NARROW(KeyKernel, Bf16Math, KeyBiasParams);
LR_COMPILE_NARROW(QueryKernel, Bf16Math, TableParams);
LR_COMPILE_NARROW(KeyKernel, Bf16Math, TableParams);
LR_COMPILE_NARROW(DistanceKernel, Bf16Math, TableParams);

}  // namespace gpu
}  // namespace longrun
