#include "kernels/cuda_attention.h"

#include "base/str.h"
#include "kernels/attention_check.h"
#include "kernels/cuda_architectures.h"
#include "kernels/cuda_calls.h"
#include "kernels/cuda_library.h"
#include "kernels/cuda_plugin_file.h"

namespace longrun {
namespace {

// The memory that a call lies in. Empty views lie nowhere, so the first that is not empty decides.
MemorySpace MemoryOf(const AttentionInputs& inputs, const AttentionTerms& terms) {
  for (const HeadsView* view : {&inputs.q, &inputs.k}) {
    if (view->batch > 0 && view->n_row > 0) return view->memory;
  }
  return terms.memory;
}

Status CheckOnGpu(const MemorySpace& memory) {
  if (memory.kind == MemorySpace::Kind::kCuda) return {};
  return Status(Code::kInvalidArgument, Str("attention: q: lies in ", MemoryName(memory),
                                            ", but this back-end reads the memory of a GPU"));
}

Status FromText(const char* error) {
  if (error == nullptr) return {};
  return Status(Code::kInternal, Str("attention: the cuda back-end: ", error));
}

template <typename Call>
Status Check(const Call& call, const AttentionTerms& terms, const AttentionKernelOptions& options) {
  const MemorySpace memory = MemoryOf(call.inputs, terms);
  RETURN_IF_ERROR(CheckOnGpu(memory));
  RETURN_IF_ERROR(CheckAttentionShapes(call, terms, options, memory));
  return CheckCudaSupport(call.inputs, terms);
}

Status Forward(const AttentionForwardCall& call, const AttentionTerms& terms,
               const AttentionKernelOptions& options) {
  RETURN_IF_ERROR(Check(call, terms, options));
  const LongrunAttentionForwardCall c_call = ToPlugin(call);
  const LongrunAttentionTerms c_terms = ToPlugin(terms);
  const LongrunAttentionOptions c_options = ToPlugin(options);
  return FromText(OpenedCudaLibrary().attention_forward(&c_call, &c_terms, &c_options));
}

template <std::int32_t kKernels>
Status Backward(const AttentionBackwardCall& call, const AttentionTerms& terms,
                const AttentionKernelOptions& options) {
  RETURN_IF_ERROR(Check(call, terms, options));
  const LongrunAttentionBackwardCall c_call = ToPlugin(call);
  const LongrunAttentionTerms c_terms = ToPlugin(terms);
  LongrunAttentionOptions c_options = ToPlugin(options);
  c_options.backward = kKernels;
  return FromText(OpenedCudaLibrary().attention_backward(&c_call, &c_terms, &c_options));
}

constexpr AttentionKernel kCudaAttention = {
    .name = "cuda", .forward = &Forward, .backward = &Backward<kLongrunTwoKernels>};
constexpr AttentionKernel kCudaAttentionWithSingleBackward = {
    .name = "cuda_single_backward",
    .forward = &Forward,
    .backward = &Backward<kLongrunSingleKernel>};
constexpr AttentionKernel kCudaAttentionWithUnorderedBackward = {
    .name = "cuda_unordered_backward",
    .forward = &Forward,
    .backward = &Backward<kLongrunUnorderedKernel>};

}  // namespace

Result<const AttentionKernel*> CudaAttention(const std::string& plugin_path) {
  RETURN_IF_ERROR(OpenCudaLibrary(plugin_path).status());
  return &kCudaAttention;
}

Result<const AttentionKernel*> CudaAttentionWithSingleBackward(const std::string& plugin_path) {
  RETURN_IF_ERROR(OpenCudaLibrary(plugin_path).status());
  return &kCudaAttentionWithSingleBackward;
}

Result<const AttentionKernel*> CudaAttentionWithUnorderedBackward(const std::string& plugin_path) {
  RETURN_IF_ERROR(OpenCudaLibrary(plugin_path).status());
  return &kCudaAttentionWithUnorderedBackward;
}

Result<LongrunGpu> DescribeCudaGpu(const std::string& plugin_path, int ordinal) {
  RETURN_IF_ERROR(CudaAttention(plugin_path).status());
  LongrunGpu gpu = {};
  if (const char* error = OpenedCudaLibrary().describe(ordinal, &gpu); error != nullptr) {
    return Status(Code::kFailedPrecondition, Str("GPU ", ordinal, ": ", error));
  }
  // For older GPUs there is no code in any build; they can have LibTorch's operators.
  const int major = gpu.capability_major, minor = gpu.capability_minor;
  const std::string_view architectures = OpenedCudaLibrary().architectures();
  if (HasCudaKernels(major) && !HasCudaCode(architectures, major, minor)) {
    return Status(
        Code::kFailedPrecondition,
        Str("GPU ", ordinal, ": ", gpu.name, " has compute capability ", major, ".", minor,
            ", but ", plugin_path, " was compiled for ", architectures,
            ": configure with -DLONGRUN_CUDA_ARCHITECTURES=", CudaArchitectureOf(major, minor),
            " (if nvcc is too old for that: 80-virtual), and build again"));
  }
  return gpu;
}

Status CheckCudaGpu(const std::string& plugin_path, int ordinal) {
  ASSIGN_OR_RETURN(const LongrunGpu gpu, DescribeCudaGpu(plugin_path, ordinal));
  if (HasCudaKernels(gpu.capability_major)) return {};
  return Status(Code::kUnimplemented,
                Str("longrun's kernels need a GPU of compute capability 8.0 or newer, but ",
                    gpu.name, " has ", gpu.capability_major, ".", gpu.capability_minor,
                    ": use the attention back-end \"reference\" and the operators \"aten\""));
}

std::int64_t CudaHeadDimMaxOf(const std::string& plugin_path, int ordinal) {
  return CheckCudaGpu(plugin_path, ordinal).ok() ? kCudaHeadDimMax : 0;
}

Status CheckCudaSupport(const AttentionInputs& inputs, const AttentionTerms& terms) {
  const auto unsupported = [](std::string_view argument, std::string_view what) {
    return Status(Code::kUnimplemented, Str("attention: ", argument, ": ", what));
  };
  const HeadsView& q = inputs.q;
  if (q.scalar == Scalar::kFp64) {
    return unsupported("q", "the cuda back-end does not support fp64: use fp32, or the reference");
  }
  if (q.head_dim % kCudaHeadDimStep != 0 || q.head_dim > kCudaHeadDimMax) {
    return unsupported(
        "q", Str("head_dim is ", q.head_dim, ", but the cuda back-end needs a multiple of ",
                 kCudaHeadDimStep, " up to ", kCudaHeadDimMax, ": use the reference"));
  }
  if (q.scalar == Scalar::kFp16 && terms.dropout &&
      terms.dropout->probability > kCudaFp16DropoutMax) {
    return unsupported("dropout.probability", Str(terms.dropout->probability,
                                                  " is more than the cuda back-end supports in "
                                                  "fp16, ",
                                                  kCudaFp16DropoutMax, ": use fp32 or bf16"));
  }
  if (terms.piecewise && std::ssize(terms.piecewise->knots) > kCudaKnotsMax) {
    return unsupported("piecewise.knots", Str("there are ", terms.piecewise->knots.size(),
                                              ", but the cuda back-end has room for ",
                                              kCudaKnotsMax, ": use the reference"));
  }
  const Visibility& see = terms.visibility;
  if (see.q_offset < -kCudaOffsetMax || see.q_offset > kCudaOffsetMax) {
    return unsupported("visibility.q_offset", Str(see.q_offset, " is beyond ", kCudaOffsetMax));
  }
  if (see.k_offset > kCudaOffsetMax) {
    return unsupported("visibility.k_offset", Str(see.k_offset, " is beyond ", kCudaOffsetMax));
  }
  return {};
}

}  // namespace longrun
