// The checks that every attention back-end (attention.h) makes before it computes.
#pragma once

#include "base/status.h"
#include "kernels/attention.h"

namespace longrun {

// Checks what can be known without reading any number that a call or its terms view: shapes, steps,
// types, sizes, and that all of it lies in `memory`, the memory that the back-end reads. A back-end
// calls it first. kInvalidArgument names the argument, kUnimplemented the term.
Status CheckAttentionShapes(const AttentionForwardCall& call, const AttentionTerms& terms,
                            const AttentionKernelOptions& options, const MemorySpace& memory);
Status CheckAttentionShapes(const AttentionBackwardCall& call, const AttentionTerms& terms,
                            const AttentionKernelOptions& options, const MemorySpace& memory);

// Checks the numbers of terms that passed CheckAttentionShapes: document begins, rows of the
// rotation, the order of regions and knots, weights. It reads host memory: for a GPU, the caller
// checks the numbers before copying them there. Learned numbers may be anything, also NaN, which
// the outputs then show. `inputs` gives the sizes; its numbers are not read.
Status CheckAttentionNumbers(const AttentionInputs& inputs, const AttentionTerms& terms);

// Both, for the back-ends that read host memory.
Status CheckAttentionCall(const AttentionForwardCall& call, const AttentionTerms& terms,
                          const AttentionKernelOptions& options);
Status CheckAttentionCall(const AttentionBackwardCall& call, const AttentionTerms& terms,
                          const AttentionKernelOptions& options);

}  // namespace longrun
