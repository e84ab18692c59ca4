#include "kernels/cuda/launch-inl.h"
#include "kernels/cuda/pipelined_forward-inl.h"

namespace longrun {
namespace gpu {

LR_COMPILE_FEW(PipelinedForwardKernel, Bf16Math);
LR_COMPILE_NARROW(PipelinedForwardKernel, Bf16Math, RotatedParams);
LR_COMPILE_MASKED(PipelinedForwardKernel, Bf16Math);
LR_COMPILE_PIECES(PipelinedForwardKernel, Bf16Math);
LR_COMPILE_TWO_SIDED(PipelinedForwardKernel, Bf16Math);
LR_COMPILE_NARROW(PipelinedForwardKernel, Bf16Math, MaskedParams<RotatedParams>);

}  // namespace gpu
}  // namespace longrun
