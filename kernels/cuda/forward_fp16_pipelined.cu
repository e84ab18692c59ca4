#include "kernels/cuda/launch-inl.h"
#include "kernels/cuda/pipelined_forward-inl.h"

namespace longrun {
namespace gpu {

LR_COMPILE_FEW(PipelinedForwardKernel, Fp16Math);
LR_COMPILE_NARROW(PipelinedForwardKernel, Fp16Math, RotatedParams);
LR_COMPILE_MASKED(PipelinedForwardKernel, Fp16Math);
LR_COMPILE_PIECES(PipelinedForwardKernel, Fp16Math);
LR_COMPILE_TWO_SIDED(PipelinedForwardKernel, Fp16Math);
LR_COMPILE_NARROW(PipelinedForwardKernel, Fp16Math, MaskedParams<RotatedParams>);

}  // namespace gpu
}  // namespace longrun
