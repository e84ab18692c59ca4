// The back-ends that every build has.
#include "kernels/backends.h"
#include "tests/kernels/kernels_under_test.h"

namespace longrun::testing {

std::vector<KernelUnderTest> KernelsUnderTest() {
  std::vector<KernelUnderTest> tested;
  for (const AttentionKernel& kernel : AttentionKernels()) {
    const bool is_reference = kernel.name == "reference";
    tested.push_back({.kernel = kernel,
                      .is_exact = is_reference,
                      .uses_host_threads = !is_reference,
                      .skips = !is_reference,
                      .counts_tiles = !is_reference,
                      .writes_fp32_numbers = is_reference});
  }
  return tested;
}

}  // namespace longrun::testing
