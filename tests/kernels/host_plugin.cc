// The plug-in of the CUDA kernels (kernels/cuda_plugin.h) for tests without a GPU: its kernels over
// rows are those of kernels/cuda, run on the host (cuda_host.h). It has no attention.
#include <cstring>

#include "base/subnormals.h"
#include "kernels/cuda/row_calls-inl.h"
#include "kernels/cuda_plugin.h"
#include "tests/kernels/cuda_host.h"

namespace longrun::testing {
namespace {

template <typename Call>
const char* Run(const Call& call, const LongrunRowOptions& options) {
  const ScopedSubnormals mode(Subnormals::kKept);
  HostDevice device = HostDeviceOfNextCall();
  return gpu::RunRows(call, options, device);
}

}  // namespace
}  // namespace longrun::testing

extern "C" {

std::int32_t LongrunGetCudaVersion();
std::int32_t LongrunGetCudaVersion() { return kLongrunCudaVersion; }

const char* LongrunGetCudaArchitectures();
const char* LongrunGetCudaArchitectures() { return "90-real"; }

const char* LongrunDescribeGpu(int ordinal, LongrunGpu* gpu);
const char* LongrunDescribeGpu(int, LongrunGpu* gpu) {
  std::strcpy(gpu->name, "the host");
  gpu->capability_major = 9;
  return nullptr;
}

const char* LongrunAttentionForward(const LongrunAttentionForwardCall* call,
                                    const LongrunAttentionTerms* terms,
                                    const LongrunAttentionOptions* options);
const char* LongrunAttentionForward(const LongrunAttentionForwardCall*,
                                    const LongrunAttentionTerms*, const LongrunAttentionOptions*) {
  return "the host's plug-in has no attention";
}
const char* LongrunAttentionBackward(const LongrunAttentionBackwardCall* call,
                                     const LongrunAttentionTerms* terms,
                                     const LongrunAttentionOptions* options);
const char* LongrunAttentionBackward(const LongrunAttentionBackwardCall*,
                                     const LongrunAttentionTerms*, const LongrunAttentionOptions*) {
  return "the host's plug-in has no attention";
}

#define LONGRUN_ROWS(Name)                                                                       \
  const char* Longrun##Name(const Longrun##Name##Call* call, const LongrunRowOptions* options);  \
  const char* Longrun##Name(const Longrun##Name##Call* call, const LongrunRowOptions* options) { \
    return longrun::testing::Run(*call, *options);                                               \
  }
LONGRUN_ROWS(NormForward)
LONGRUN_ROWS(NormBackward)
LONGRUN_ROWS(ActivationForward)
LONGRUN_ROWS(ActivationBackward)
LONGRUN_ROWS(CrossEntropy)
LONGRUN_ROWS(ColumnSum)
LONGRUN_ROWS(KeyBiasForward)
LONGRUN_ROWS(KeyBiasBackward)
LONGRUN_ROWS(AdamW)

}  // extern "C"
