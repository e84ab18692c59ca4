// The kernels of kernels/cuda, on the host (cuda_host.h): "cuda/host". LONGRUN_TEST_SHARED_KIB is
// the shared memory of a block; without it, that of a GPU of compute capability 9.0.
// With LONGRUN_TEST_SINGLE_BACKWARD=1, backward has a single kernel where there is one.
#include <optional>
#include <string>

#include "base/process.h"
#include "base/str.h"
#include "base/subnormals.h"
#include "kernels/attention_check.h"
#include "kernels/cuda/attention-inl.h"
#include "kernels/cuda_attention.h"
#include "kernels/cuda_calls.h"
#include "tests/kernels/cuda_host.h"
#include "tests/kernels/kernels_under_test.h"

namespace longrun::testing {
namespace {

std::optional<int> SharedKib() {
  const std::optional<std::string> kib = GetEnv("LONGRUN_TEST_SHARED_KIB");
  return kib ? std::optional(std::stoi(*kib)) : std::nullopt;
}

template <typename Call, typename Run>
Status RunOnHost(const Call& call, const AttentionTerms& terms,
                 const AttentionKernelOptions& options, const Run& run) {
  RETURN_IF_ERROR(CheckAttentionCall(call, terms, options));
  RETURN_IF_ERROR(CheckCudaSupport(call.inputs, terms));
  const ScopedSubnormals mode(Subnormals::kKept);
  AttentionKernelOptions own = options;
  own.working_memory = HostMemory();
  const auto c_call = ToPlugin(call);
  const LongrunAttentionTerms c_terms = ToPlugin(terms);
  const LongrunAttentionOptions c_options = ToPlugin(own);
  HostDevice device = HostDeviceOfNextCall();
  GlobalRegions regions(c_call);
  regions.Add(c_terms);
  device.regions = &regions;
  if (SharedKib()) device.shared_bytes_max = *SharedKib() << 10;
  const char* const error = run(c_call, c_terms, c_options, device);
  return error == nullptr ? Status() : Status(Code::kInternal, error);
}

Status Forward(const AttentionForwardCall& call, const AttentionTerms& terms,
               const AttentionKernelOptions& options) {
  if (call.n_tiles != nullptr) *call.n_tiles = 0;
  return RunOnHost(call, terms, options, &gpu::ForwardAttention<HostDevice>);
}

template <std::int32_t kKernels>
Status Backward(const AttentionBackwardCall& call, const AttentionTerms& terms,
                const AttentionKernelOptions& options) {
  return RunOnHost(
      call, terms, options,
      [](const auto& c_call, const auto& c_terms, LongrunAttentionOptions own, HostDevice& device) {
        own.backward = kKernels;
        return gpu::BackwardAttention<HostDevice>(c_call, c_terms, own, device);
      });
}

}  // namespace

AttentionKernel HostKernel() {
  return {.name = "cuda/host", .forward = &Forward, .backward = &Backward<kLongrunTwoKernels>};
}

AttentionKernel HostKernelWithSingleBackward() {
  return {.name = "cuda/host_single_backward",
          .forward = &Forward,
          .backward = &Backward<kLongrunSingleKernel>};
}

AttentionKernel HostKernelWithUnorderedBackward() {
  return {.name = "cuda/host_unordered_backward",
          .forward = &Forward,
          .backward = &Backward<kLongrunUnorderedKernel>};
}

std::vector<KernelUnderTest> KernelsUnderTest() {
  const bool has_single = GetEnv("LONGRUN_TEST_SINGLE_BACKWARD") == "1";
  return {{.kernel = has_single ? HostKernelWithSingleBackward() : HostKernel(),
           .skips = true,
           .writes_fp32_numbers = true}};
}

}  // namespace longrun::testing
