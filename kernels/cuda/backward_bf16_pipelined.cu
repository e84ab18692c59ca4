#include "kernels/cuda/launch-inl.h"
#include "kernels/cuda/pipelined_backward-inl.h"

namespace longrun {
namespace gpu {

LR_COMPILE_FEW(PipelinedQueryKernel, Bf16Math);
LR_COMPILE_FEW(PipelinedKeyKernel, Bf16Math);

}  // namespace gpu
}  // namespace longrun
