#include "kernels/backends.h"

#include <vector>

#include "kernels/cpu/attention.h"
#include "kernels/reference/kernel.h"

namespace longrun {

std::span<const AttentionKernel> AttentionKernels() {
  static const std::vector<AttentionKernel> kernels = [] {
    std::vector<AttentionKernel> found = {kReferenceAttention};
    const std::span<const AttentionKernel> cpu = CpuAttentionKernels();
    found.insert(found.end(), cpu.begin(), cpu.end());
    return found;
  }();
  return kernels;
}

const AttentionKernel* FindAttentionKernel(std::string_view name) {
  if (name == "cpu") return &CpuAttentionKernels().front();
  for (const AttentionKernel& kernel : AttentionKernels()) {
    if (kernel.name == name) return &kernel;
  }
  return nullptr;
}

}  // namespace longrun
