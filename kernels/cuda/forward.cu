#include "kernels/cuda/forward-inl.h"
#include "kernels/cuda/launch-inl.h"

namespace longrun::gpu {

LR_COMPILE_SHAPES(ForwardKernel, Bf16Math);
LR_COMPILE_SHAPES(ForwardKernel, Fp32Math);

}  // namespace longrun::gpu
