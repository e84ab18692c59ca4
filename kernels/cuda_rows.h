// The kernels over rows on an NVIDIA GPU: the calls of kernels/norm.h, activation.h,
// cross_entropy.h and key_bias.h, and AdamW, computed by the plug-in that nvcc compiled
// (cuda_plugin.h, kernels/cuda/).
// OpenCudaLibrary or CudaAttention has loaded it before, for a GPU that CheckCudaGpu accepts.
//
// Memory:  all that a call views lies in `memory`. A call only puts work on the stream: it does not
//          wait for the GPU. The working memory that sums over rows take is O(C), up to 1,024 rows
//          of C floats for each sum, and 1,024 doubles for each head of a
//          sequence for a key bias
// Types:   as in these headers
// Bits:    the same each time and on every GPU: sums over rows are added in an order that depends
//          only on the sizes
// Edges:   a target outside of the vocabulary gives NaN, for its loss and its gradients: the host
//          cannot read it
// Errors:  kInternal with CUDA's message, or if there is no working memory; a null or negative
//          argument is a bug of the caller (LR_CHECK)
// Subnormal numbers: kept, except in exponentials
#pragma once

#include <span>

#include "base/status.h"
#include "kernels/activation.h"
#include "kernels/adamw.h"
#include "kernels/attention.h"  // MemorySpace, WorkingMemory
#include "kernels/cross_entropy.h"
#include "kernels/key_bias.h"
#include "kernels/norm.h"

namespace longrun {

struct CudaRowOptions {
  MemorySpace memory = {.kind = MemorySpace::Kind::kCuda, .ordinal = 0};
  void* stream = nullptr;
  WorkingMemory working_memory;
};

Status CudaNormForward(const NormForwardCall& call, const CudaRowOptions& options);
Status CudaNormBackward(const NormBackwardCall& call, const CudaRowOptions& options);
Status CudaActivationForward(const ActivationForwardCall& call, const CudaRowOptions& options);
Status CudaActivationBackward(const ActivationBackwardCall& call, const CudaRowOptions& options);
Status CudaGatedForward(const GatedForwardCall& call, const CudaRowOptions& options);
Status CudaGatedBackward(const GatedBackwardCall& call, const CudaRowOptions& options);

Status CudaCrossEntropy(const CrossEntropyCall& call, const CudaRowOptions& options);

Status CudaKeyBiasForward(const KeyBiasForwardCall& call, const CudaRowOptions& options);
Status CudaKeyBiasBackward(const KeyBiasBackwardCall& call, const CudaRowOptions& options);

// total[c] = the sum over rows of x[row][c]: the gradient of a product's bias.
struct ColumnSumCall {
  std::int64_t n_row = 0, n_channel = 0;
  ConstElements x = {};
  float* total = nullptr;
};
Status CudaColumnSum(const ColumnSumCall& call, const CudaRowOptions& options);

// AdamW (kernels/adamw.h). What changes from step to step lies on the GPU, which may still be
// computing it. The bits are those of LibTorch's fused operator on a GPU after multiplying the
// gradients by the clip factor in fp32.
struct CudaAdamWCall {
  std::span<const AdamWTensor> tensors = {};  // the array itself lies on the host
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  const float* t = nullptr;  // the number of the step, from 1
  const float* lr = nullptr;
  const double* clip = nullptr;  // null: 1
  // Unless all of these are finite, nothing changes.
  const double* results = nullptr;
  std::int64_t n_result = 0;
};
Status CudaAdamW(const CudaAdamWCall& call, const CudaRowOptions& options);

}  // namespace longrun
