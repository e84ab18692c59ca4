#include "kernels/cuda/launch-inl.h"
#include "kernels/cuda/skip-inl.h"

namespace longrun {
namespace gpu {

LR_COMPILE_KERNEL(MaximaKernel<GpuLayer>);
LR_COMPILE_KERNEL(ScanKernel<GpuLayer>);
LR_COMPILE_KERNEL(EndKernel<GpuLayer>);
LR_COMPILE_ANY(SkipKernel, Bf16Math, SkipParams);
LR_COMPILE_ANY(SkipKernel, Fp16Math, SkipParams);
LR_COMPILE_ANY(SkipKernel, Fp32Math, SkipParams);

}  // namespace gpu
}  // namespace longrun
