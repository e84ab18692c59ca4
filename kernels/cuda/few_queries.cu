#include "kernels/cuda/few_queries-inl.h"
#include "kernels/cuda/launch-inl.h"

namespace longrun {
namespace gpu {

LR_COMPILE_ANY(FewQueriesKernel, Bf16Math, FewQueriesParams);
LR_COMPILE_ANY(FewQueriesKernel, Bf16Math, RotatedFewQueriesParams);
LR_COMPILE_ANY(FewQueriesKernel, Fp16Math, FewQueriesParams);
LR_COMPILE_ANY(FewQueriesKernel, Fp16Math, RotatedFewQueriesParams);
LR_COMPILE_ANY(FewQueriesKernel, Fp32Math, FewQueriesParams);

}  // namespace gpu
}  // namespace longrun
