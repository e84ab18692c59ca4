#include "kernels/cuda/launch-inl.h"
#include "kernels/cuda/pipelined_backward-inl.h"

namespace longrun {
namespace gpu {

LR_COMPILE_NARROW(PipelinedKeyKernel, Bf16Math, SingleBackwardParams<PlainParams>);
LR_COMPILE_NARROW(PipelinedKeyKernel, Bf16Math, SingleBackwardParams<KeyBiasParams>);
LR_COMPILE_NARROW(PipelinedKeyKernel, Bf16Math, SingleBackwardParams<TableParams>);
LR_COMPILE_NARROW(PipelinedKeyKernel, Bf16Math, SingleBackwardParams<MaskedParams<PlainParams>>);
LR_COMPILE_NARROW(PipelinedKeyKernel, Bf16Math, SingleBackwardParams<MaskedParams<KeyBiasParams>>);
LR_COMPILE_NARROW(PipelinedKeyKernel, Bf16Math, SingleBackwardParams<MaskedParams<TableParams>>);
LR_COMPILE_NARROW(PipelinedKeyKernel, Bf16Math,
                  SingleBackwardParams<SkippingParams<KeyBiasParams>>);
LR_COMPILE_NARROW(PipelinedKeyKernel, Bf16Math, SingleBackwardParams<SkippingParams<TableParams>>);

LR_COMPILE_KERNEL(MaximaOfKeysKernel<GpuLayer>);
LR_COMPILE_KERNEL(BeginSumsKernel<GpuLayer, 64, QuerySumParams>);
LR_COMPILE_KERNEL(BeginSumsKernel<GpuLayer, 128, QuerySumParams>);
LR_COMPILE_KERNEL(EndSumsKernel<GpuLayer, 64, QuerySumParams>);
LR_COMPILE_KERNEL(EndSumsKernel<GpuLayer, 128, QuerySumParams>);

}  // namespace gpu
}  // namespace longrun
