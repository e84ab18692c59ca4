#include "kernels/cuda/forward-inl.h"
#include "kernels/cuda/launch-inl.h"

namespace longrun {
namespace gpu {

LR_COMPILE_SHAPES(ForwardKernel, Fp32Math);
LR_COMPILE_FEW(ForwardKernel, Fp32Math);

}  // namespace gpu
}  // namespace longrun
