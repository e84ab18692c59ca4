// Causal or bidirectional attention with position terms, as tensors with gradients:
//
//   s[i][j] = scale * <rotate(q_i), rotate(k_j)> + bias[i][j],   p = softmax over visible j,
//   o_i     = sum over j of p[i][j] v_j
//
// A method that counts positions by content adds <q_i, e[p]> to the bias, where p depends on the
// scores themselves (model/position/method.h, ContentPosition).
//
// Three back-ends. `reference` computes the formula with LibTorch's plain operators, for at most
// 128 queries at a time and, when causal, only against the keys that they see: no T x T tensor
// exists. `torch` is LibTorch's fused attention; it supports no bias, so it serves methods without
// one and refuses the others by name. `fused` is the one of kernels/ on the CPU: it supports every
// bias except that of content, in fp32 and bf16; a network of distances becomes a piecewise linear
// function. A single token after a cache is computed like in `reference`.
//
// A learned bias b_i - b_j is summed in double and taken relative to the first query of its block:
// |b| grows with T (0.69 T at initialisation), and two fp32 numbers of that size must
// never be subtracted.
//
// Legend: B batch, T positions, H heads, D head_dim, C d_model, Q queries of a block, R rotary
// channels.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/net/device.h"
#include "model/position/method.h"

namespace longrun {

struct AttentionKernel;
struct RotationNumbers;

enum class AttentionBackend { kReference, kTorch, kFused };
// "reference", "torch", "fused"
Result<AttentionBackend> ParseAttentionBackend(std::string_view name);

// The keys and values of one layer for tokens read before, rotated if the method rotates, in
// tensors with room for more.
struct AttentionCache {
  at::Tensor k_BHTD, v_BHTD;  // of type compute.product
  at::Tensor cumulated_BHT;   // b_t of a learned bias, in double; undefined if none
  std::int64_t n = 0;         // number of tokens held
};

// The attention of queries [q_begin, q_begin + Q) of a call over keys [k_begin, k_begin + K), which
// are all the keys that any of them sees.
struct AttentionBlock {
  at::Tensor scores_BHQK;  // s, a learned bias as b_i - b_j; -inf where hidden
  at::Tensor p_BHQK;       // not rounded to compute.product
  std::int64_t q_begin = 0, k_begin = 0;
};
// Called with each block of queries of a call as it is computed, in order.
using AttentionObserver = std::function<void(const AttentionBlock&)>;

class Attention {
 public:
  // kUnimplemented if the back-end lacks a term; `method` is the name for that message.
  static Result<Attention> Make(TermSpec terms, std::string_view method,
                                const AttentionShape& shape, AttentionBackend backend,
                                const Compute& compute);

  struct Call {
    at::Tensor q_BHTD, k_BHTD, v_BHTD;  // of type compute.product; k, v: shape.n_kv_head heads
    at::Tensor x_BTC;                   // the layer's input after its LayerNorm: for a gate
    std::vector<at::Tensor> learned;    // the method's tensors, in the order of TermSpec::learned
    double scale = 0.0;
    at::Tensor distances_HN = {};  // Distances(learned, n), up to the last query; may be absent
    // Only for Forward without gradients. An observed call is computed like in `reference` with
    // either back-end, since the fused attention forms no p.
    const AttentionObserver* observer = nullptr;
  };
  // A distance bias that several calls share, computed once; undefined if the method has none.
  // n_positions counts the whole sequence.
  at::Tensor Distances(const std::vector<at::Tensor>& learned, std::int64_t n_positions) const;
  // o_BHTD, of type compute.product.
  at::Tensor Forward(const Call& call);
  // The same for tokens that follow those in the cache, to which they are added: any number of
  // tokens if the cache is empty, else one. Causal attention only, without gradients.
  at::Tensor ForwardBehind(const Call& call, AttentionCache& cache);
  AttentionBackend backend() const { return backend_; }
  // Sets other frequencies for the same pairs of channels, and a factor for the rotated channels,
  // from the next call on; the layout stays. For a method that rotates.
  void SetRotation(std::vector<double> frequency, double magnitude);

 private:
  Attention(TermSpec terms, const AttentionShape& shape, AttentionBackend backend,
            const Compute& compute);
  // Data that the queries of a call share.
  struct Prepared {
    std::int64_t last = 0;          // position of the last query
    at::Tensor cumulated_BHT = {};  // b_t of a gate, in double
    at::Tensor distances_HN = {};   // a distance bias, from distance `first`
    std::int64_t first = 0;
  };
  using Tensors = std::vector<at::Tensor>;
  const at::Tensor& Learned(const Tensors& learned, std::string_view name) const;
  Tensors Learned(const Tensors& learned, const std::vector<std::string>& names) const;
  std::int64_t FirstDistance(std::int64_t n_positions) const;
  at::Tensor Rotated(const at::Tensor& x_BHTD, std::int64_t begin, std::int64_t middle,
                     double sign);
  at::Tensor Rotate(const at::Tensor& x_BHTD, std::int64_t begin);
  at::Tensor Grow(const at::Tensor& x_BHTD, std::int64_t begin_from_middle, double sign) const;
  at::Tensor Cumulated(const Call& call) const;
  Prepared Prepare(const Call& call, std::int64_t n_key) const;
  at::Tensor WithPositions(const at::Tensor& scores_BHQK, const at::Tensor& q_BHQD,
                           const Call& call, const Prepared& prepared, std::int64_t q_begin,
                           std::int64_t k_begin) const;
  at::Tensor Kernel(const Call& call);
  at::Tensor AllBlocks(const Call& call, const Prepared& prepared);
  at::Tensor LastQuery(const Call& call, const Prepared& prepared) const;
  at::Tensor StaticBias(std::int64_t q_begin, std::int64_t n_query, std::int64_t k_begin,
                        std::int64_t n_key, std::int64_t block, std::int64_t n_positions);
  at::Tensor BlockForward(const Call& call, const Prepared& prepared, std::int64_t q_begin,
                          std::int64_t n_query, std::int64_t block);
  void Show(const Call& call, const Prepared& prepared, AttentionBlock block) const;

  TermSpec terms_;
  AttentionShape shape_;
  AttentionBackend backend_;
  Compute compute_;

  // Tables that only grow and are kept between calls.
  at::Tensor cos_TR_, sin_TR_;  // (T, R/2), times magnitude_
  double magnitude_ = 1.0;
  const AttentionKernel* kernel_ = nullptr;                  // of `fused`
  std::shared_ptr<const RotationNumbers> rotation_numbers_;  // for `fused`
  std::int64_t rotation_positions_ = 0;
  at::Tensor static_bias_;  // (H or 1, Q, width): StaticBias
  std::int64_t static_block_ = 0;
  std::int64_t static_positions_ = 0;
};

}  // namespace longrun
