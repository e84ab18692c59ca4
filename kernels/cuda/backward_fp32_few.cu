#include "kernels/cuda/backward-inl.h"
#include "kernels/cuda/launch-inl.h"

namespace longrun {
namespace gpu {

LR_COMPILE_NARROW(QueryKernel, Fp32Math, PlainParams);
LR_COMPILE_NARROW(KeyKernel, Fp32Math, PlainParams);
LR_COMPILE_NARROW(QueryKernel, Fp32Math, KeyBiasParams);
LR_COMPILE_NARROW(KeyKernel, Fp32Math, KeyBiasParams);
LR_COMPILE_NARROW(QueryKernel, Fp32Math, TableParams);
LR_COMPILE_NARROW(KeyKernel, Fp32Math, TableParams);
LR_COMPILE_NARROW(DistanceKernel, Fp32Math, TableParams);

}  // namespace gpu
}  // namespace longrun
