#include "kernels/cuda/forward-inl.h"
#include "kernels/cuda/launch-inl.h"

namespace longrun {
namespace gpu {

LR_COMPILE_SHAPES(ForwardKernel, Bf16Math);
LR_COMPILE_NARROW(ForwardKernel, Bf16Math, PlainParams);
LR_COMPILE_NARROW(ForwardKernel, Bf16Math, KeyBiasParams);
LR_COMPILE_NARROW(ForwardKernel, Bf16Math, TableParams);

}  // namespace gpu
}  // namespace longrun
