// Fused attention with position terms, forward and backward.
//
//   s[i][j] = scale <q~_i, k~_j> + bias[i][j]       q~, k~ rotated; terms: kernels/attention_terms.h
//   lse[i]  = log sum over visible j of exp(s[i][j])
//   p[i][j] = exp(s[i][j] - lse[i])                 never stored
//   o_i     = sum over j of z[i][j] p[i][j] v_j     z: dropout, else 1
//
// The gradients stand in kernels/reference/attention.h.
//
// Shapes:  q, o (B, T_q, H, D); k, v (B, T_k, H_kv, D), query head h reads key head h / (H / H_kv);
//          lse (B, H, T_q). D a multiple of 8, at most 256, for the CPU back-end
// Types:   fp32 or bf16 (the reference: fp64, too); sums, softmax and bias of the CPU in fp32; numbers
//          of positions, their gradients and lse in double
// Edges:   a query that sees no key gives o = 0, lse = -inf and no gradient, never NaN
// Memory:  every result lies in a buffer of the caller; working memory is O(B H T D)
// Threads: bits depend on neither their number nor the other sequences of the batch
// Subnormal numbers: flushed, or kept where the options say so (base/subnormals.h). Over n keys flushing
//          changes o by less than (n + 1) 2^-124 max(1, |v|), beside what it changes in the scores, which
//          are sums of products (base/subnormals.h). For l >= 1, the sum of the probabilities before they
//          are divided, in units of 2^-126: each key's p changes by at most 1, whether p itself is flushed
//          or the factor that rescales it, so sum p v by n |v| and l by n; each product and each rescaling
//          of a tile may flush its result, 2 n together; v as an operand and o as a result add 1 each
// Errors:  a shape, stride, type or size that does not fit is kInvalidArgument and names the argument;
//          a term that the back-end lacks is kUnimplemented and names the term, and so are regions
//          backward: they are for inference
//
// One suite holds every back-end to this: tests/kernels/conformance_test.cc.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/subnormals.h"
#include "kernels/attention_terms.h"

namespace longrun {

enum class Scalar { kFp32, kBf16, kFp64 };
std::string_view ScalarName(Scalar scalar);  // "fp32", ...

// (B, T, H, D), with steps between neighbours in elements; channels lie side by side.
template <typename Pointer>
struct HeadsViewOf {
  Pointer data = nullptr;
  Scalar scalar = Scalar::kFp32;
  std::int64_t batch = 0, n_row = 0, n_head = 0, head_dim = 0;
  std::int64_t batch_step = 0, row_step = 0, head_step = 0;
};
using HeadsView = HeadsViewOf<const void*>;  // read
using HeadsBuffer = HeadsViewOf<void*>;      // written; rows must not overlap

// Calls body(begin, end) for parts that cover [0, n) once each, on any threads, and returns when all
// have returned. Empty: the calling thread alone.
using ParallelFor = std::function<void(
    std::int64_t n, const std::function<void(std::int64_t begin, std::int64_t end)>& body)>;

struct AttentionInputs {
  HeadsView q, k, v;
};

// Keys that forward left out of a row of tiles since their probabilities sum to less than
// skip_epsilon: backward needs to know. One number for 32 queries: the first key that was visited.
struct VisitedKeys {
  static constexpr std::int64_t kQueries = 32;
  static std::int64_t Count(std::int64_t n_query) { return (n_query + kQueries - 1) / kQueries; }
};

struct AttentionKernelOptions {
  ParallelFor parallel_for = {};
  // 0: every visible key is visited. Else the keys of the far end are left out as soon as it is proved
  // that they hold less than this part of every row's probability: |error of o| <= 2 epsilon max|v|
  // (over 1 - probability with dropout). Two-sided, piecewise and growing terms: never.
  double skip_epsilon = 0.0;
  // On every thread of the kernel, whatever its own mode. The reference, in double, has none to flush.
  Subnormals subnormals = DefaultSubnormals();
};

struct AttentionForwardCall {
  AttentionInputs inputs;
  HeadsBuffer o;
  std::span<double> lse;
  // (B, H, VisitedKeys::Count(T_q)); may be empty when skip_epsilon is 0.
  std::span<std::int32_t> first_key = {};
  // Tiles of queries and keys that were computed, where it is not null: what skipping saved.
  std::int64_t* n_tiles = nullptr;
};

struct AttentionBackwardCall {
  AttentionInputs inputs;
  HeadsView o, do_;                              // o as forward wrote it; dL/do
  std::span<const double> lse;                   // as forward wrote it
  std::span<const std::int32_t> first_key = {};  // as forward wrote it
  HeadsBuffer dq, dk, dv;
  // Of the term's numbers, where asked for (not empty), else not computed.
  std::span<double> d_key_bias = {};        // (B, H, T_k): of c, or of r
  std::span<double> d_distance_table = {};  // (H, n_distance)
  std::span<double> d_slope = {};           // (H, K + 1): piecewise, together with d_intercept
  std::span<double> d_intercept = {};
  std::span<double> d_psi = {};  // as psi, together with d_row_factor
  std::span<double> d_row_factor = {};
};

// A way to compute it. `cpu` is the best that this processor has of "cpu/avx512", "cpu/avx2",
// "cpu/sse4" and "cpu/portable", on ARM of "cpu/sve256" and "cpu/neon", which give nearly the same
// numbers but not the same bits.
struct AttentionKernel {
  std::string_view name;
  Status (*forward)(const AttentionForwardCall& call, const AttentionTerms& terms,
                    const AttentionKernelOptions& options);
  Status (*backward)(const AttentionBackwardCall& call, const AttentionTerms& terms,
                     const AttentionKernelOptions& options);
};

// What runs on this machine, the reference first.
std::span<const AttentionKernel> AttentionKernels();
// By name, also "cpu". Null when there is none of it here.
const AttentionKernel* FindAttentionKernel(std::string_view name);

// Every rule of shapes, steps, sizes and terms that holds for all back-ends; they call it first.
Status CheckAttentionCall(const AttentionForwardCall& call, const AttentionTerms& terms,
                          const AttentionKernelOptions& options);
Status CheckAttentionCall(const AttentionBackwardCall& call, const AttentionTerms& terms,
                          const AttentionKernelOptions& options);

}  // namespace longrun
