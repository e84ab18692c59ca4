#include "kernels/cuda/launch-inl.h"
#include "kernels/cuda/pipelined_backward-inl.h"

namespace longrun {
namespace gpu {

LR_COMPILE_FEW(PipelinedQueryKernel, Bf16Math);
LR_COMPILE_FEW(PipelinedKeyKernel, Bf16Math);
LR_COMPILE_MASKED(PipelinedQueryKernel, Bf16Math);
LR_COMPILE_MASKED(PipelinedKeyKernel, Bf16Math);
LR_COMPILE_PIECES(PipelinedQueryKernel, Bf16Math);
LR_COMPILE_PIECES(PipelinedKeyKernel, Bf16Math);
LR_COMPILE_TWO_SIDED(PipelinedQueryKernel, Bf16Math);
LR_COMPILE_TWO_SIDED(PipelinedKeyKernel, Bf16Math);
LR_COMPILE_NARROW(PipelinedKeyKernel, Bf16Math, SkippingParams<KeyBiasParams>);
LR_COMPILE_NARROW(PipelinedKeyKernel, Bf16Math, SkippingParams<TableParams>);

}  // namespace gpu
}  // namespace longrun
