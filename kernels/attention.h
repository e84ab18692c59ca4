// Fused attention with position terms, forward and backward.
//
//   s[i][j] = scale <q~_i, k~_j> + bias[i][j]       q~, k~ rotated; terms:
//                                                   kernels/attention_terms.h
//   lse[i]  = log sum over visible j of exp(s[i][j])
//   p[i][j] = exp(s[i][j] - lse[i])                 never stored
//   o_i     = sum over j of z[i][j] p[i][j] v_j     z: dropout, else 1
//
// kernels/reference/attention.h has the formulas of the gradients.
//
// Shapes:  q, o (B, T_q, H, D); k, v (B, T_k, H_kv, D), query head h reads key head h / (H / H_kv);
//          lse (B, H, T_q). On the CPU, D is a multiple of kCpuHeadDimStep,
//          at most kCpuHeadDimMax; on a GPU, as kernels/cuda_attention.h says
// Types:   q, k, v and their gradients: fp32, bf16 or fp16 (the reference also fp64), all of one
//          type; o and do: that type, or fp32 beside bf16 or fp16, so that o is not rounded before
//          it is merged (merge.h); the CPU's sums, softmax and bias in fp32; numbers that belong to
//          positions (attention_terms.h) in double; lse and the gradients of these numbers:
//          NumbersViewOf. A result in fp16 is infinite from 65,520 on, and a multiple of 2^-24
//          below 2^-14: scale the loss if gradients may be so small
// Edges:   a query that sees no key gives o = 0, lse = -inf and no gradient, never NaN. An infinite
//          number or a NaN may also spread to rows that do not see it, but share a tile with it
// Memory:  all that a call reads and writes lies in one memory: the host's, or that of one GPU. The
//          caller owns every result buffer; working memory is O(B H T D), on a GPU from the options
// Shards:  with visibility.k_offset a call reads some of the text's keys, and merge.h makes of the
//          results of several calls the result for all of their keys
// Threads: bits depend neither on the number of threads nor on the other sequences of the batch
// Subnormal numbers: flushed, or kept where the options say so (base/subnormals.h). With n keys,
//          flushing changes o by less than (n + 1) 2^-124 max(1, |v|), apart from its effect on the
//          scores, which are sums of products (base/subnormals.h). Proof, with changes in units of
//          2^-126: let l >= 1 be the sum of the p before they are divided by it. Each key's p
//          changes by at most 1, whether p itself or the factor that rescales p is flushed. So
//          sum p v changes by n |v|, and l by n. Each product and each rescaling of a tile may
//          flush its result, which adds 2 n. Flushing v as an operand and o as a result adds 1 each
// Errors:  a shape, stride, type or size that does not fit is kInvalidArgument and names the
//          argument, and so is memory that the back-end does not read; a term that the back-end
//          lacks is kUnimplemented and names the term; regions are kUnimplemented in backward,
//          since they are for inference
//
// tests/kernels/conformance_test.cc holds every back-end to this contract.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/status.h"
#include "base/subnormals.h"
#include "kernels/attention_terms.h"

namespace longrun {

// The CPU back-end supports multiples of kCpuHeadDimStep up to kCpuHeadDimMax as head_dim; the
// reference supports any head_dim.
inline constexpr std::int64_t kCpuHeadDimStep = 8;
inline constexpr std::int64_t kCpuHeadDimMax = 256;

enum class Scalar { kFp32, kBf16, kFp64, kFp16 };
std::string_view ScalarName(Scalar scalar);  // "fp32", ...
// bf16 or fp16.
inline bool HasTwoBytes(Scalar scalar) {
  return scalar == Scalar::kBf16 || scalar == Scalar::kFp16;
}

// (B, T, H, D); steps are in elements, from one neighbour to the next. Channels are contiguous.
template <typename Pointer>
struct HeadsViewOf {
  Pointer data = nullptr;
  Scalar scalar = Scalar::kFp32;
  std::int64_t batch = 0, n_row = 0, n_head = 0, head_dim = 0;
  std::int64_t batch_step = 0, row_step = 0, head_step = 0;
  MemorySpace memory = {};
};
using HeadsView = HeadsViewOf<const void*>;  // read
using HeadsBuffer = HeadsViewOf<void*>;      // written; rows must not overlap

// Dense numbers: lse, or the gradient of a term's numbers. The type is
//
//   fp64   on the host. The key bias of a long text makes |lse| large (1e4 at 16k positions), and a
//          gradient is a sum over all rows.
//   fp32   for devices, whose sums are in fp32. A rounded lse changes every p in backward by a
//          factor of up to 1 + 2^-24 |lse|: within the bound of fp32 while |lse| is below 80; a
//          caller with a larger key bias asks for fp64. The gradients of fp32 kernels are right to
//          1e-5, which leaves nothing of a double beyond fp32.
//
// All back-ends read and write lse in both types. Gradients in fp32 are supported by the reference
// and on GPUs; the CPU adds them up in place, in double, and refuses fp32.
template <typename Pointer>
struct NumbersViewOf {
  Pointer data = nullptr;
  std::int64_t n = 0;
  Scalar scalar = Scalar::kFp64;
  MemorySpace memory = {};

  static constexpr bool kIsConst = std::is_const_v<std::remove_pointer_t<Pointer>>;
  template <typename T>
  using Element = std::conditional_t<kIsConst, const T, T>;

  NumbersViewOf() = default;
  NumbersViewOf(Pointer the_data, std::int64_t the_n, Scalar the_scalar, MemorySpace the_memory)
      : data(the_data), n(the_n), scalar(the_scalar), memory(the_memory) {}
  // NOLINTBEGIN(google-explicit-constructor)
  NumbersViewOf(std::span<Element<double>> x)
      : data(x.data()), n(static_cast<std::int64_t>(x.size())) {}
  NumbersViewOf(std::span<Element<float>> x)
      : data(x.data()), n(static_cast<std::int64_t>(x.size())), scalar(Scalar::kFp32) {}
  NumbersViewOf(std::span<double> x) requires kIsConst : NumbersViewOf(std::span<const double>(x)) {
  }
  NumbersViewOf(Element<std::vector<double>>& x) : NumbersViewOf(std::span(x)) {}
  NumbersViewOf(Element<std::vector<float>>& x) : NumbersViewOf(std::span(x)) {}
  // NOLINTEND(google-explicit-constructor)

  bool empty() const { return n == 0; }
  // The numbers as T, which must be their type, in host memory.
  template <typename T>
  std::span<Element<T>> As() const {
    return {static_cast<Element<T>*>(data), static_cast<std::size_t>(n)};
  }
};
using NumbersView = NumbersViewOf<const void*>;
using NumbersBuffer = NumbersViewOf<void*>;

// Calls body(begin, end) for parts that cover [0, n) once each, on any threads, and returns when
// all calls have returned. Empty: only the calling thread works.
using ParallelFor = std::function<void(
    std::int64_t n, const std::function<void(std::int64_t begin, std::int64_t end)>& body)>;

struct AttentionInputs {
  HeadsView q, k, v;
};

// For each 32 queries, forward returns the key before which it skipped all keys but sinks (0: it
// skipped none), and backward needs this key. The skipped keys hold less than skip_epsilon of every
// row's probability.
struct VisitedKeys {
  static constexpr std::int64_t kQueries = 32;
  static std::int64_t Count(std::int64_t n_query) { return (n_query + kQueries - 1) / kQueries; }
};

// Allocates the working memory of a call on a GPU, so that LibTorch's caching allocator can provide
// it. Plain function pointers, because the plug-in's interface has no other (cuda_plugin.h).
struct WorkingMemory {
  void* context = nullptr;  // passed to both
  // Returns null if there is no memory. The memory may be used by work that is put on the stream
  // until it is released; releasing it does not wait for that work.
  void* (*allocate)(void* context, std::int64_t n_byte, void* stream) = nullptr;
  void (*release)(void* context, void* address, void* stream) = nullptr;
};

struct AttentionKernelOptions {
  ParallelFor parallel_for = {};  // of the host; no GPU uses it
  // 0: every visible key is visited. Otherwise the oldest keys are skipped once they provably hold
  // less than this fraction of every row's probability: |error of o| <= 2 epsilon max|v| (divided
  // by 1 - probability with dropout). Nothing is skipped if the terms have a two-sided key bias, a
  // piecewise term or a rotation with growth.
  double skip_epsilon = 0.0;
  // How every thread treats subnormal numbers while it runs the kernel. The reference computes in
  // double and ignores this.
  Subnormals subnormals = DefaultSubnormals();
  // Of a GPU: the stream (a cudaStream_t) on which the call's work is put, and its working memory.
  // The call returns before the work is done. The back-ends of the host refuse both.
  void* stream = nullptr;
  WorkingMemory working_memory = {};
};

struct AttentionForwardCall {
  AttentionInputs inputs;
  HeadsBuffer o;
  NumbersBuffer lse;
  // (B, H, VisitedKeys::Count(T_q)), in q's memory; may be empty when skip_epsilon is 0.
  std::span<std::int32_t> first_key = {};
  // If not null, receives the number of tiles (queries by keys) that were computed:
  // it shows what skipping saved. Null for a GPU, for which the host would have to wait.
  std::int64_t* n_tiles = nullptr;
};

struct AttentionBackwardCall {
  AttentionInputs inputs;
  HeadsView o, do_;                              // o as forward wrote it; dL/do
  NumbersView lse;                               // as forward wrote it
  std::span<const std::int32_t> first_key = {};  // as forward wrote it
  HeadsBuffer dq, dk, dv;
  // Gradients of the terms' numbers; an empty view is not computed.
  NumbersBuffer d_key_bias = {};        // (B, H, T_k): of c, or of r
  NumbersBuffer d_distance_table = {};  // (H, n_distance)
  NumbersBuffer d_slope = {};           // (H, K + 1): piecewise, together with d_intercept
  NumbersBuffer d_intercept = {};
  NumbersBuffer d_psi = {};  // as psi, together with d_row_factor
  NumbersBuffer d_row_factor = {};
};

// A way to compute attention. The name "cpu" stands for the first of these that this processor can
// run: on x86 "cpu/avx512", "cpu/avx2", "cpu/sse4", "cpu/portable"; on ARM "cpu/sve256",
// "cpu/neon". They give nearly the same numbers but not the same bits.
struct AttentionKernel {
  std::string_view name;
  Status (*forward)(const AttentionForwardCall& call, const AttentionTerms& terms,
                    const AttentionKernelOptions& options);
  Status (*backward)(const AttentionBackwardCall& call, const AttentionTerms& terms,
                     const AttentionKernelOptions& options);
};

}  // namespace longrun
