#include "kernels/cuda/forward-inl.h"
#include "kernels/cuda/launch-inl.h"

namespace longrun {
namespace gpu {

LR_COMPILE_SHAPES(ForwardKernel, Fp16Math);

}  // namespace gpu
}  // namespace longrun
