#include "kernels/cuda/adamw-inl.h"
#include "kernels/cuda/launch-inl.h"

namespace longrun {
namespace gpu {

LR_COMPILE_KERNEL(AdamWKernel<GpuLayer>);

}  // namespace gpu
}  // namespace longrun
