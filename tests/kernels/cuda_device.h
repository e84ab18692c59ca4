// An attention kernel over host memory that computes on the GPU, for the conformance suite: it
// copies what a call views to the GPU, calls the back-end "cuda" there (kernels/cuda_attention.h),
// and copies the results back (cuda_memory.h).
#pragma once

#include "base/status.h"
#include "kernels/attention.h"

namespace longrun::testing {

// With LONGRUN_TEST_SINGLE_BACKWARD=1, backward has a single kernel where there is one. The error
// says why this machine has no GPU to test.
Result<AttentionKernel> KernelOnGpu();
// The same with backward that adds in any order, which only some calls have.
Result<AttentionKernel> UnorderedKernelOnGpu();

}  // namespace longrun::testing
