// The C interface of liblongrun_cuda.so, the part of longrun that nvcc compiles. The trainer loads
// it at run time, so that one build serves machines with and without a GPU. The interface uses no
// types from CUDA's or LibTorch's headers, and only plain C types.
//
// The structures of attention mirror kernels/attention.h and attention_terms.h, field by field;
// those headers say what the fields mean. kernels/cuda_calls.h converts between the two. Rules of
// the mirror:
//
//   a span      is an address and a number of elements; an empty one has 0 elements
//   an optional is a field has_...; if it is 0, the structure behind it is all zeros
//   an enum     is its number in the C++ header; a bool is 0 or 1
//   scalars     (scale, offsets, counts) are values; every address lies in the call's memory
//
// parallel_for is missing: no GPU uses it. Whoever changes a structure or a function also raises
// kLongrunCudaVersion.
#pragma once

#include <cstdint>

extern "C" {

struct LongrunGpu {
  char name[256];
  std::int64_t memory_bytes;
  int capability_major;
  int capability_minor;
};

struct LongrunMemory {
  std::int32_t kind, ordinal;
};

struct LongrunHeads {
  void* data;  // of inputs: not written
  std::int32_t scalar;
  std::int64_t batch, n_row, n_head, head_dim;
  std::int64_t batch_step, row_step, head_step;
  LongrunMemory memory;
};

struct LongrunNumbers {
  void* data;  // of inputs: not written
  std::int64_t n;
  std::int32_t scalar;
  LongrunMemory memory;
};

struct LongrunDoubles {
  const double* data;
  std::int64_t n;
};
struct LongrunFloats {
  const float* data;
  std::int64_t n;
};
struct LongrunInts {
  const std::int32_t* data;
  std::int64_t n;
};

struct LongrunVisibility {
  std::int32_t causal;
  std::int64_t q_offset, k_offset, window, n_sink;
  LongrunInts document_begin;
};
struct LongrunKeyBias {
  LongrunDoubles values;
  std::int32_t two_sided;
  LongrunFloats local;
  LongrunDoubles anchor, slope;
};
struct LongrunRotation {
  LongrunDoubles cos, sin;
  std::int64_t n_rotary;
  std::int32_t layout;
  LongrunDoubles growth;
  LongrunInts row;
};
struct LongrunRegion {
  LongrunInts key_begin, query_row, key_row;
  std::int32_t has_blended;
  LongrunInts blended_row;
  LongrunDoubles blended_weight;
};
struct LongrunDistanceTable {
  LongrunDoubles values;
  std::int64_t n_distance, n_ahead;
};
struct LongrunPiecewise {
  LongrunDoubles psi, row_factor, knots, slope, intercept;
};
struct LongrunDropout {
  double probability;
  std::uint64_t seed;
  std::uint32_t offset;
};

struct LongrunAttentionTerms {
  double scale;
  LongrunVisibility visibility;
  std::int32_t has_key_bias;
  LongrunKeyBias key_bias;
  std::int32_t has_rotation;
  LongrunRotation rotation;
  std::int64_t n_region;
  LongrunRegion regions[3];  // kRegionsMax
  std::int32_t has_distance_table;
  LongrunDistanceTable distance_table;
  std::int32_t has_piecewise;
  LongrunPiecewise piecewise;
  std::int32_t has_dropout;
  LongrunDropout dropout;
  LongrunMemory memory;
};

struct LongrunAttentionOptions {
  double skip_epsilon;
  std::int32_t subnormals;
  std::int32_t backward;  // kLongrunTwoKernels, ...
  void* stream;
  void* allocate_context;
  void* (*allocate)(void* context, std::int64_t n_byte, void* stream);
  void (*release)(void* context, void* address, void* stream);
};

struct LongrunAttentionForwardCall {
  LongrunHeads q, k, v, o;
  LongrunNumbers lse;
  std::int32_t* first_key;
  std::int64_t n_first_key;
  std::int64_t* n_tiles;
};

struct LongrunAttentionBackwardCall {
  LongrunHeads q, k, v, o, o_gradient;
  LongrunNumbers lse;
  LongrunInts first_key;
  LongrunHeads dq, dk, dv;
  LongrunNumbers d_key_bias, d_distance_table, d_slope, d_intercept, d_psi, d_row_factor;
};

// The kernels over rows: the calls of kernels/norm.h, activation.h, cross_entropy.h and
// key_bias.h, without the instruction set and the threads. All that a call views lies in `memory`.
struct LongrunRowOptions {
  LongrunMemory memory;
  void* stream;
  void* allocate_context;
  void* (*allocate)(void* context, std::int64_t n_byte, void* stream);
  void (*release)(void* context, void* address, void* stream);
};

struct LongrunElements {
  void* data;  // of inputs: not written
  std::int32_t scalar;
};

struct LongrunNormShape {
  std::int64_t n_row, n_channel;
  std::int32_t centred;
  double epsilon;
};
struct LongrunNormForwardCall {
  LongrunNormShape shape;
  const float* x;
  LongrunElements addend;
  const float *gamma, *beta;
  float* sum;
  LongrunElements y;
  float *mean, *rstd;
};
struct LongrunNormBackwardCall {
  LongrunNormShape shape;
  LongrunElements dy;
  const float *sum, *gamma, *mean, *rstd, *d_sum;
  float* dx;
  void* d_addend;  // bf16
  float *d_gamma, *d_beta;
};

struct LongrunActivationShape {
  std::int64_t n_row, n_channel;
  std::int32_t activation;
};
// Gated if `up` is not null: then h is the gate, and there is no bias.
struct LongrunActivationForwardCall {
  LongrunActivationShape shape;
  LongrunElements h, up;
  const float* bias;
  LongrunElements y;
};
struct LongrunActivationBackwardCall {
  LongrunActivationShape shape;
  LongrunElements h, up;
  const float* bias;
  LongrunElements dy, dh, d_up;
  float* d_bias;
};

// As in kernels/cross_entropy.h.
struct LongrunCrossEntropyCall {
  std::int64_t n_row, n_vocab;
  LongrunElements logits;
  const std::int64_t* targets;
  float *nll, *lse;
  LongrunElements d_logits;
  double weight;
};

// total[c] = the sum over rows of x[row][c].
struct LongrunColumnSumCall {
  std::int64_t n_row, n_channel;
  LongrunElements x;
  float* total;
};

// As in kernels/key_bias.h.
struct LongrunKeyBiasShape {
  std::int64_t batch, n_head, n_key;
  std::int32_t log_sigmoid;
};
struct LongrunKeyBiasForwardCall {
  LongrunKeyBiasShape shape;
  const float* a;
  const double* before;
  double* r;
  float* local;
  double* anchor;
  std::int32_t negated;
};
struct LongrunKeyBiasBackwardCall {
  LongrunKeyBiasShape shape;
  const float* a;
  const double* dr;
  float* da;
  std::int32_t negated;
};

// As in kernels/cuda_rows.h. The vectors are an array on the host.
struct LongrunAdamWVector {
  const float* gradient;
  float *parameter, *m, *v;
  void* copy;  // bf16
  std::int64_t n;
  float weight_decay;
};
struct LongrunAdamWCall {
  const LongrunAdamWVector* vectors;
  std::int64_t n_vector;
  float beta1, beta2, eps;
  const float *t, *lr;
  const double *clip, *results;
  std::int64_t n_result;
};

// Returns null, or CUDA's own message about the error (static memory).
using LongrunGpuDescribe = const char* (*)(int ordinal, LongrunGpu* gpu);
// Returns the kLongrunCudaVersion that the plug-in was compiled with.
using LongrunCudaVersion = std::int32_t (*)();
// Returns what the plug-in has code for, separated by spaces (kernels/cuda_architectures.h).
using LongrunCudaArchitectures = const char* (*)();
// Put the call's work on the stream of the options, and return null or a message about the error
// (static memory). The caller has checked the call (kernels/cuda_attention.h).
using LongrunAttentionForwardFunction = const char* (*)(const LongrunAttentionForwardCall* call,
                                                        const LongrunAttentionTerms* terms,
                                                        const LongrunAttentionOptions* options);
using LongrunAttentionBackwardFunction = const char* (*)(const LongrunAttentionBackwardCall* call,
                                                         const LongrunAttentionTerms* terms,
                                                         const LongrunAttentionOptions* options);

// The same for the kernels over rows (kernels/cuda_rows.h).
using LongrunNormForwardFunction = const char* (*)(const LongrunNormForwardCall* call,
                                                   const LongrunRowOptions* options);
using LongrunNormBackwardFunction = const char* (*)(const LongrunNormBackwardCall* call,
                                                    const LongrunRowOptions* options);
using LongrunActivationForwardFunction = const char* (*)(const LongrunActivationForwardCall* call,
                                                         const LongrunRowOptions* options);
using LongrunActivationBackwardFunction = const char* (*)(const LongrunActivationBackwardCall* call,
                                                          const LongrunRowOptions* options);
using LongrunCrossEntropyFunction = const char* (*)(const LongrunCrossEntropyCall* call,
                                                    const LongrunRowOptions* options);
using LongrunColumnSumFunction = const char* (*)(const LongrunColumnSumCall* call,
                                                 const LongrunRowOptions* options);
using LongrunKeyBiasForwardFunction = const char* (*)(const LongrunKeyBiasForwardCall* call,
                                                      const LongrunRowOptions* options);
using LongrunKeyBiasBackwardFunction = const char* (*)(const LongrunKeyBiasBackwardCall* call,
                                                       const LongrunRowOptions* options);
using LongrunAdamWFunction = const char* (*)(const LongrunAdamWCall* call,
                                             const LongrunRowOptions* options);

}  // extern "C"

// The trainer refuses a plug-in of another version, since its structures may differ.
inline constexpr std::int32_t kLongrunCudaVersion = 9;

// The kernels of backward, for bf16 calls with few terms: one of queries and one of keys; or a
// single one, of which other calls have the former; or one that adds in any order, of which other
// calls are errors (kernels/cuda_attention.h says what each is for).
inline constexpr std::int32_t kLongrunTwoKernels = 0;
inline constexpr std::int32_t kLongrunSingleKernel = 1;
inline constexpr std::int32_t kLongrunUnorderedKernel = 2;

inline constexpr const char* kLongrunGpuDescribeSymbol = "LongrunDescribeGpu";
inline constexpr const char* kLongrunCudaVersionSymbol = "LongrunGetCudaVersion";
inline constexpr const char* kLongrunCudaArchitecturesSymbol = "LongrunGetCudaArchitectures";
inline constexpr const char* kLongrunAttentionForwardSymbol = "LongrunAttentionForward";
inline constexpr const char* kLongrunAttentionBackwardSymbol = "LongrunAttentionBackward";
inline constexpr const char* kLongrunNormForwardSymbol = "LongrunNormForward";
inline constexpr const char* kLongrunNormBackwardSymbol = "LongrunNormBackward";
inline constexpr const char* kLongrunActivationForwardSymbol = "LongrunActivationForward";
inline constexpr const char* kLongrunActivationBackwardSymbol = "LongrunActivationBackward";
inline constexpr const char* kLongrunCrossEntropySymbol = "LongrunCrossEntropy";
inline constexpr const char* kLongrunColumnSumSymbol = "LongrunColumnSum";
inline constexpr const char* kLongrunKeyBiasForwardSymbol = "LongrunKeyBiasForward";
inline constexpr const char* kLongrunKeyBiasBackwardSymbol = "LongrunKeyBiasBackward";
inline constexpr const char* kLongrunAdamWSymbol = "LongrunAdamW";
