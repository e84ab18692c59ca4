// Backward that adds fp32 numbers in any order: for benchmarks only (kernels/cuda_attention.h).
#include "kernels/cuda/launch-inl.h"
#include "kernels/cuda/pipelined_backward-inl.h"

namespace longrun {
namespace gpu {

LR_COMPILE_NARROW(PipelinedKeyKernel, Bf16Math, UnorderedBackwardParams<PlainParams>);
LR_COMPILE_NARROW(PipelinedKeyKernel, Bf16Math, UnorderedBackwardParams<KeyBiasParams>);

LR_COMPILE_KERNEL(BeginSumsKernel<GpuLayer, 64, UnorderedSumParams>);
LR_COMPILE_KERNEL(BeginSumsKernel<GpuLayer, 128, UnorderedSumParams>);
LR_COMPILE_KERNEL(EndSumsKernel<GpuLayer, 64, UnorderedSumParams>);
LR_COMPILE_KERNEL(EndSumsKernel<GpuLayer, 128, UnorderedSumParams>);

}  // namespace gpu
}  // namespace longrun
