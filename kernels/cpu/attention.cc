#include "kernels/cpu/attention.h"

#include "kernels/cpu/arm_targets.h"

// AVX-512, AVX2 and SSE4 on x86, SVE of 256 bits and NEON on ARM, and plain C++ for any processor
// that may have none of these. The choice at run time is our own (CpuAttentionKernels), so nothing
// of Highway needs to be linked.
#if defined(__aarch64__)
#define LONGRUN_DISABLED_PORTABLE (HWY_SCALAR | HWY_EMU128)
#else
#define LONGRUN_DISABLED_PORTABLE 0
#endif
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_AVX3_DL | LONGRUN_DISABLED_SVE | HWY_RVV | LONGRUN_DISABLED_PORTABLE)
#define HWY_COMPILE_ALL_ATTAINABLE
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/cpu/backward-inl.h"
#include "kernels/cpu/forward-inl.h"

#if HWY_ONCE

#include <vector>

#include "base/str.h"
#include "kernels/attention_check.h"
#include "kernels/simd.h"

namespace longrun {
namespace {

// Refuses what the contract allows but this back-end does not support.
Status CheckCovered(const AttentionInputs& in) {
  if (in.q.scalar == Scalar::kFp64) {
    return Status(
        Code::kUnimplemented,
        "attention: q: the cpu back-end does not support fp64: use fp32, or the reference");
  }
  if (in.q.head_dim % kCpuHeadDimStep != 0 || in.q.head_dim > kCpuHeadDimMax) {
    return Status(Code::kUnimplemented,
                  Str("attention: q: head_dim is ", in.q.head_dim,
                      ", but the cpu back-end needs a multiple of ", kCpuHeadDimStep, " up to ",
                      kCpuHeadDimMax, ": use the reference"));
  }
  return {};
}

// The gradients of the terms' numbers are added up in place, in double.
Status CheckGradientTypes(const AttentionBackwardCall& call) {
  struct Gradient {
    std::string_view name;
    const NumbersBuffer& buffer;
  };
  const Gradient gradients[] = {
      {"d_key_bias", call.d_key_bias}, {"d_distance_table", call.d_distance_table},
      {"d_slope", call.d_slope},       {"d_intercept", call.d_intercept},
      {"d_psi", call.d_psi},           {"d_row_factor", call.d_row_factor}};
  for (const Gradient& gradient : gradients) {
    if (gradient.buffer.empty() || gradient.buffer.scalar == Scalar::kFp64) continue;
    return Status(Code::kUnimplemented,
                  Str("attention: ", gradient.name, ": the cpu back-end writes fp64, not ",
                      ScalarName(gradient.buffer.scalar), ": use fp64, or the reference"));
  }
  return {};
}

using ForwardFunction = Status (*)(const AttentionForwardCall&, const AttentionTerms&,
                                   const AttentionKernelOptions&);
using BackwardFunction = Status (*)(const AttentionBackwardCall&, const AttentionTerms&,
                                    const AttentionKernelOptions&);

template <ForwardFunction kForward>
Status CheckedForward(const AttentionForwardCall& call, const AttentionTerms& terms,
                      const AttentionKernelOptions& options) {
  RETURN_IF_ERROR(CheckAttentionCall(call, terms, options));
  RETURN_IF_ERROR(CheckCovered(call.inputs));
  const ScopedSubnormals mode(options.subnormals);
  return kForward(call, terms, options);
}

template <BackwardFunction kBackward>
Status CheckedBackward(const AttentionBackwardCall& call, const AttentionTerms& terms,
                       const AttentionKernelOptions& options) {
  RETURN_IF_ERROR(CheckAttentionCall(call, terms, options));
  RETURN_IF_ERROR(CheckCovered(call.inputs));
  RETURN_IF_ERROR(CheckGradientTypes(call));
  const ScopedSubnormals mode(options.subnormals);
  return kBackward(call, terms, options);
}

template <ForwardFunction kForward, BackwardFunction kBackward>
constexpr AttentionKernel Kernel(std::string_view name) {
  return {
      .name = name, .forward = &CheckedForward<kForward>, .backward = &CheckedBackward<kBackward>};
}

std::vector<AttentionKernel> SupportedKernels() {
  std::vector<AttentionKernel> kernels;
#if HWY_TARGETS & HWY_AVX3
  if (IsRunnable(Simd::kAvx512)) {
    kernels.push_back(Kernel<&N_AVX3::Forward, &N_AVX3::Backward>("cpu/avx512"));
  }
#endif
#if HWY_TARGETS & HWY_AVX2
  if (IsRunnable(Simd::kAvx2)) {
    kernels.push_back(Kernel<&N_AVX2::Forward, &N_AVX2::Backward>("cpu/avx2"));
  }
#endif
#if HWY_TARGETS & HWY_SSE4
  if (HasSse4()) {
    kernels.push_back(Kernel<&N_SSE4::Forward, &N_SSE4::Backward>("cpu/sse4"));
  }
#endif
#if HWY_TARGETS & HWY_SVE_256
  if (IsRunnable(Simd::kSve256)) {
    kernels.push_back(Kernel<&N_SVE_256::Forward, &N_SVE_256::Backward>("cpu/sve256"));
  }
#endif
#if HWY_TARGETS & HWY_NEON
  kernels.push_back(Kernel<&N_NEON::Forward, &N_NEON::Backward>("cpu/neon"));
#else
  // Here HWY_NAMESPACE is that of the static target.
  kernels.push_back(Kernel<&HWY_NAMESPACE::Forward, &HWY_NAMESPACE::Backward>("cpu/portable"));
#endif
  return kernels;
}

}  // namespace

std::span<const AttentionKernel> CpuAttentionKernels() {
  static const std::vector<AttentionKernel> kernels = SupportedKernels();
  return kernels;
}

}  // namespace longrun

#endif  // HWY_ONCE
