#include "kernels/cuda/forward-inl.h"
#include "kernels/cuda/launch-inl.h"

namespace longrun {
namespace gpu {

LR_COMPILE_SHAPES(ForwardKernel, Fp32Math);
LR_COMPILE_NARROW(ForwardKernel, Fp32Math, PlainParams);
LR_COMPILE_NARROW(ForwardKernel, Fp32Math, KeyBiasParams);
LR_COMPILE_NARROW(ForwardKernel, Fp32Math, TableParams);

}  // namespace gpu
}  // namespace longrun
