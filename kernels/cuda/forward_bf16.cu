#include "kernels/cuda/forward-inl.h"
#include "kernels/cuda/launch-inl.h"

namespace longrun {
namespace gpu {

LR_COMPILE_SHAPES(ForwardKernel, Bf16Math);
LR_COMPILE_FEW(ForwardKernel, Bf16Math);
LR_COMPILE_NARROW(ForwardKernel, Bf16Math, RotatedParams);

}  // namespace gpu
}  // namespace longrun
