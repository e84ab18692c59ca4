#include "kernels/cuda_rows.h"

#include <string_view>
#include <vector>

#include "base/str.h"
#include "kernels/cuda_library.h"
#include "kernels/cuda_row_calls.h"

namespace longrun {
namespace {

Status StatusOf(std::string_view what, const char* error, const CudaRowOptions& options) {
  if (error == nullptr) return {};
  return Status(Code::kInternal, Str(what, " in ", MemoryName(options.memory), ": ", error));
}

template <typename Function, typename Call>
Status Run(std::string_view what, Function function, const Call& call,
           const CudaRowOptions& options) {
  const auto c_call = ToPlugin(call);
  const LongrunRowOptions c_options = ToPlugin(options);
  return StatusOf(what, function(&c_call, &c_options), options);
}

}  // namespace

Status CudaNormForward(const NormForwardCall& call, const CudaRowOptions& options) {
  return Run("norm", OpenedCudaLibrary().norm_forward, call, options);
}
Status CudaNormBackward(const NormBackwardCall& call, const CudaRowOptions& options) {
  return Run("gradient of a norm", OpenedCudaLibrary().norm_backward, call, options);
}
Status CudaActivationForward(const ActivationForwardCall& call, const CudaRowOptions& options) {
  return Run("activation", OpenedCudaLibrary().activation_forward, call, options);
}
Status CudaActivationBackward(const ActivationBackwardCall& call, const CudaRowOptions& options) {
  return Run("gradient of an activation", OpenedCudaLibrary().activation_backward, call, options);
}
Status CudaGatedForward(const GatedForwardCall& call, const CudaRowOptions& options) {
  return Run("gated activation", OpenedCudaLibrary().activation_forward, call, options);
}
Status CudaGatedBackward(const GatedBackwardCall& call, const CudaRowOptions& options) {
  return Run("gradient of a gated activation", OpenedCudaLibrary().activation_backward, call,
             options);
}
Status CudaCrossEntropy(const CrossEntropyCall& call, const CudaRowOptions& options) {
  return Run("cross-entropy", OpenedCudaLibrary().cross_entropy, call, options);
}
Status CudaColumnSum(const ColumnSumCall& call, const CudaRowOptions& options) {
  return Run("sum over rows", OpenedCudaLibrary().column_sum, call, options);
}
Status CudaKeyBiasForward(const KeyBiasForwardCall& call, const CudaRowOptions& options) {
  return Run("key bias", OpenedCudaLibrary().key_bias_forward, call, options);
}
Status CudaKeyBiasBackward(const KeyBiasBackwardCall& call, const CudaRowOptions& options) {
  return Run("gradient of a key bias", OpenedCudaLibrary().key_bias_backward, call, options);
}
Status CudaAdamW(const CudaAdamWCall& call, const CudaRowOptions& options) {
  const std::vector<LongrunAdamWVector> vectors = AdamWVectors(call.tensors);
  const LongrunAdamWCall c_call = ToPlugin(call, vectors);
  const LongrunRowOptions c_options = ToPlugin(options);
  return StatusOf("AdamW", OpenedCudaLibrary().adamw(&c_call, &c_options), options);
}

}  // namespace longrun
