// Fused attention on an NVIDIA GPU: the contract of kernels/attention.h, computed by the plug-in
// that nvcc compiled (cuda_plugin.h, kernels/cuda/).
//
// Memory:  all that a call views lies in the memory of one GPU; its `options` have the stream and
//          the working memory. A call only puts work on the stream: it neither waits for the GPU
//          nor reads a number from it, so the caller must know that the numbers of the terms are
//          right (CheckAttentionNumbers, attention_check.h, reads them in host memory)
// Types:   inputs in fp32, bf16 or fp16; lse and the gradients of numbers in fp32 or fp64. Beside
//          inputs in bf16 or fp16, an o in fp32 has the errors of fp32, and takes the time of fp32;
//          so does a call in fp16 whose rotation has a growth, which would leave the range of fp16.
//          Backward in fp16 is computed in fp32. Elements of rotated rows in fp16 are at most
//          46,340 (rotated, they are at most sqrt(2) times that) and right to 2^-25
// Sizes:   head_dim is a multiple of kCudaHeadDimStep, at most kCudaHeadDimMax; there are
//          at most kCudaKnotsMax knots; the offsets of queries and keys are at most kCudaOffsetMax
// Skipping: of causal calls with a one-sided key bias or a distance table, of more than 64 queries
//          and more than 512 keys, under a window of more than 512 or none; in multiples of 128
//          keys. Of calls with sinks, regions, or what the contract excludes, no key is skipped:
//          first_key becomes 0
// Subnormal numbers: kept, whatever the options say; but a probability below 2^-126 becomes 0
#pragma once

#include <string>

#include "base/status.h"
#include "kernels/attention.h"
#include "kernels/cuda_plugin.h"

namespace longrun {

inline constexpr std::int64_t kCudaHeadDimStep = 8;
inline constexpr std::int64_t kCudaHeadDimMax = 256;
inline constexpr std::int64_t kCudaKnotsMax = 300;  // each warp sums each segment in shared memory
inline constexpr std::int64_t kCudaOffsetMax = std::int64_t{1} << 29;
// In fp16, since the kept probabilities would become infinite.
inline constexpr double kCudaFp16DropoutMax = 0.99;

// Loads the plug-in at `plugin_path`, once for the process, and returns its kernel, named "cuda".
// kFailedPrecondition if it cannot be loaded (cuda_library.h), or if another one is loaded already.
Result<const AttentionKernel*> CudaAttention(const std::string& plugin_path);

// The same, but backward has a single kernel for bf16 calls with few terms: heads of up to 128
// channels, no dropout, regions, pieces or two-sided bias, and at most one of a key bias, a
// distance table and a rotation; also under a window and with documents. Its results differ in
// their last bits. Its speed on a GPU has not been measured yet; so far, only the benchmark and
// tests call it.
Result<const AttentionKernel*> CudaAttentionWithSingleBackward(const std::string& plugin_path);

// The same, but the blocks of that kernel add fp32 numbers in the order in which they come, so dq
// has other bits each time. It shows what the bits that are the same each time cost (goal K7 of
// docs/gpu-ledger.md): only the benchmark and tests may call it, and no trainer can choose it. It
// is for such calls that have no distance table, window and documents, and skip no key; all others
// are errors, since another kernel would be measured in its place.
Result<const AttentionKernel*> CudaAttentionWithUnorderedBackward(const std::string& plugin_path);

// Of the GPU with this number, by the plug-in at `plugin_path`, which is loaded as above.
// kFailedPrecondition with CUDA's message if there is none, and with what to do if the plug-in has
// no code for it.
Result<LongrunGpu> DescribeCudaGpu(const std::string& plugin_path, int ordinal);

// kUnimplemented, and the GPU's name, if it cannot run the plug-in's kernels: it needs compute
// capability 8.0.
Status CheckCudaGpu(const std::string& plugin_path, int ordinal);

// The widest heads, in channels, of the plug-in's attention on the GPU; 0 if it has none there, or
// there is no plug-in.
std::int64_t CudaHeadDimMaxOf(const std::string& plugin_path, int ordinal);

// kUnimplemented, and the argument's name, for what the contract allows but this back-end lacks.
Status CheckCudaSupport(const AttentionInputs& inputs, const AttentionTerms& terms);

}  // namespace longrun
