// An attention kernel over host memory that computes on the GPU, for the conformance suite: it
// copies what a call views to the GPU, calls the back-end "cuda" there (kernels/cuda_attention.h),
// and copies the results back.
//
// All that lies on the GPU stands between guards and begins as NaN, working memory too. An element
// that a kernel writes beside its view fails the call.
#pragma once

#include "base/status.h"
#include "kernels/attention.h"

namespace longrun::testing {

// The error says why this machine has no GPU to test: no plug-in, no CUDA runtime, or no GPU.
Result<AttentionKernel> KernelOnGpu();

}  // namespace longrun::testing
