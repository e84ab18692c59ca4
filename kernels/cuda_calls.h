// Attention calls as the C structures of cuda_plugin.h, and back: what a trainer passes to the
// plug-in, and what the plug-in may read them as. Nothing is copied but the structures themselves:
// both sides view the same numbers, which must outlive them.
#pragma once

#include <vector>

#include "kernels/attention.h"
#include "kernels/cuda_plugin.h"

namespace longrun {

// There may be at most kRegionsMax regions (CheckAttentionShapes).
LongrunAttentionTerms ToPlugin(const AttentionTerms& terms);
// Without parallel_for.
LongrunAttentionOptions ToPlugin(const AttentionKernelOptions& options);
LongrunAttentionForwardCall ToPlugin(const AttentionForwardCall& call);
LongrunAttentionBackwardCall ToPlugin(const AttentionBackwardCall& call);

// `regions` receives the regions, which the terms view.
AttentionTerms FromPlugin(const LongrunAttentionTerms& terms, std::vector<Region>& regions);
AttentionKernelOptions FromPlugin(const LongrunAttentionOptions& options);
AttentionForwardCall FromPlugin(const LongrunAttentionForwardCall& call);
AttentionBackwardCall FromPlugin(const LongrunAttentionBackwardCall& call);

}  // namespace longrun
