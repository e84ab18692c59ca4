// The attention back-ends by name: `reference`, and those of `cpu/` that this processor runs.
#pragma once

#include <span>
#include <string_view>

#include "kernels/attention.h"

namespace longrun {

// The kernels that run on this machine, the reference first.
std::span<const AttentionKernel> AttentionKernels();
// Finds a kernel by name, also "cpu". Null if this machine cannot run it.
const AttentionKernel* FindAttentionKernel(std::string_view name);

}  // namespace longrun
