// The checks that every attention back-end (attention.h) makes before it computes.
#pragma once

#include "base/status.h"
#include "kernels/attention.h"

namespace longrun {

// Checks the rules on shapes, steps, sizes and terms that all back-ends share; each back-end calls
// it first. kInvalidArgument names the argument, kUnimplemented the term.
Status CheckAttentionCall(const AttentionForwardCall& call, const AttentionTerms& terms,
                          const AttentionKernelOptions& options);
Status CheckAttentionCall(const AttentionBackwardCall& call, const AttentionTerms& terms,
                          const AttentionKernelOptions& options);

}  // namespace longrun
