#include "kernels/cuda/forward-inl.h"
#include "kernels/cuda/launch-inl.h"
#include "kernels/cuda/split-inl.h"

namespace longrun {
namespace gpu {

LR_COMPILE_ANY(ForwardKernel, Bf16Math, SplitParams);
LR_COMPILE_ANY(ForwardKernel, Fp16Math, SplitParams);
LR_COMPILE_ANY(ForwardKernel, Fp32Math, SplitParams);
LR_COMPILE_ANY(MergeKernel, Fp32Math, SplitParams);

}  // namespace gpu
}  // namespace longrun
