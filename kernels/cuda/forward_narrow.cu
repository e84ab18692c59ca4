#include "kernels/cuda/forward-inl.h"
#include "kernels/cuda/launch-inl.h"
#include "kernels/cuda/skip-inl.h"

namespace longrun {
namespace gpu {

LR_COMPILE_NARROW_TILES(ForwardKernel, Bf16Math, Params);
LR_COMPILE_NARROW_TILES(ForwardKernel, Fp16Math, Params);
LR_COMPILE_NARROW_TILES(ForwardKernel, Fp32Math, Params);
LR_COMPILE_NARROW_TILES(ForwardKernel, Bf16Math, SplitParams);
LR_COMPILE_NARROW_TILES(ForwardKernel, Fp16Math, SplitParams);
LR_COMPILE_NARROW_TILES(ForwardKernel, Fp32Math, SplitParams);
LR_COMPILE_NARROW_TILES(SkipKernel, Bf16Math, SkipParams);
LR_COMPILE_NARROW_TILES(SkipKernel, Fp16Math, SkipParams);
LR_COMPILE_NARROW_TILES(SkipKernel, Fp32Math, SkipParams);

}  // namespace gpu
}  // namespace longrun
