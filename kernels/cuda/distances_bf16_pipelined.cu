#include "kernels/cuda/launch-inl.h"
#include "kernels/cuda/pipelined_distances-inl.h"

namespace longrun {
namespace gpu {

LR_COMPILE_NARROW(PipelinedDistanceKernel, Bf16Math, TableParams);
LR_COMPILE_NARROW(PipelinedDistanceKernel, Bf16Math, MaskedParams<TableParams>);
LR_COMPILE_PIECES(PipelinedDistanceKernel, Bf16Math);

}  // namespace gpu
}  // namespace longrun
