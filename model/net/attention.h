// Causal or bidirectional attention with position terms, as tensors with gradients:
//
//   s[i][j] = scale * <rotate(q_i), rotate(k_j)> + bias[i][j],   p = softmax over visible j,
//   o_i     = sum over j of p[i][j] v_j
//
// The bias is the sum of a method's terms; each term is one file in terms/.
//
// Three back-ends. `reference` computes the formula with LibTorch's plain operators, for at most
// 128 queries at a time and, when causal, only against the keys that they see: no T x T tensor
// exists. `torch` is LibTorch's fused attention; it supports no bias, so it serves methods without
// one and refuses the others by name. `fused` is the attention of kernels/, on the CPU or on a GPU,
// in fp32, bf16 and fp16; CheckFusedAttention names what it lacks. After cached tokens, `fused`
// computes one token like `reference` does, and `torch` computes several tokens like `reference`
// does. `fused` also computes like `reference` where a reading has what kernels/ lacks
// (Reading::IsForKernels).
//
// Legend: B batch, T positions, H heads, D head_dim, C d_model, Q queries of a block.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/attention_path.h"
#include "model/net/attention_cache.h"
#include "model/net/attention_observer.h"
#include "model/net/device.h"
#include "model/net/terms/rotation.h"
#include "model/net/terms/term.h"
#include "model/position/method.h"

namespace longrun {

struct AttentionKernel;
struct PlannedReading;
class ReadingPlanner;
class RegionScorer;

class Attention {
 public:
  // kUnimplemented if the back-end lacks a term; `method` is the name for that message.
  static Result<Attention> Make(const TermSpec& spec, std::string_view method,
                                const AttentionShape& shape, AttentionBackend backend,
                                const Compute& compute);

  using Tensors = std::vector<at::Tensor>;
  struct Call {
    at::Tensor q_BHTD, k_BHTD, v_BHTD;  // of type compute.product; k, v: shape.n_kv_head heads
    at::Tensor x_BTC;                   // the layer's input after its LayerNorm
    Tensors learned;                    // the method's tensors, in the order of TermSpec::learned
    double scale = 0.0;
    Tensors shared = {};  // Shared(learned, n_shared); may be empty
    std::int64_t n_shared = 0;
    // (B, T), int32, on the device: the position to which each token's query and key are rotated,
    // below n_positions; undefined: its place in the sequence. Only for Forward, and for methods
    // whose only term is a rotation.
    at::Tensor position_ids_BT = {};
    std::int64_t n_positions = 0;
    // Gives keys other positions; only for methods whose only term is a rotation, and without
    // gradients. Null: each key is at its own position. n_to_come more tokens of the text follow in
    // later calls.
    ReadingPlanner* reading = nullptr;
    std::int64_t n_to_come = 0;
    std::int64_t layer = 0;  // of the network; a reading's noise depends on it
    HeldKeys held = {};      // the tokens that k and v are of; ForwardBehind sets it
    // Only for Forward without gradients. Every back-end computes an observed call like
    // `reference` does, since a fused attention forms no p.
    const AttentionObserver* observer = nullptr;
  };
  // The tensors that terms compute from the learned tensors alone, for all calls that have the same
  // learned tensors; often empty. n_positions: as in TermCall. Calls with another number of
  // positions make their own.
  Tensors Shared(const Tensors& learned, std::int64_t n_positions) const;
  // Whether a term reads Call::x_BTC.
  bool reads_input() const;
  // o_BHTD, of type compute.product.
  at::Tensor Forward(const Call& call);
  // The same for tokens that follow those in the cache. They are added to the cache, within its
  // capacity. Causal attention only, without gradients. q may have the last one of these tokens
  // only, while x, k and v have all.
  at::Tensor ForwardBehind(const Call& call, AttentionCache& cache);
  // An empty cache for texts of up to `capacity` tokens, read under `reading` (null: none).
  AttentionCache MakeCache(std::int64_t batch, std::int64_t capacity,
                           const ReadingPlanner* reading) const;
  AttentionBackend backend() const { return backend_; }
  // Sets other frequencies for the same pairs of channels, and a factor for the rotated channels,
  // from the next call on; the layout stays. For a method that rotates.
  void SetRotation(std::vector<double> frequency, double magnitude);
  // Of calls with gradients, as KernelAttentionCall::skip_epsilon. Only `fused` skips keys.
  void SetSkipEpsilon(double skip_epsilon) { skip_epsilon_ = skip_epsilon; }

 private:
  using Prepared = std::vector<Tensors>;  // by term
  Attention(const TermSpec& spec, const AttentionShape& shape, AttentionBackend backend,
            const Compute& compute);
  Prepared Prepare(const Call& call, std::int64_t n_positions, const AttentionCache* cache) const;
  at::Tensor Kernel(const Call& call, Prepared prepared, bool rotates,
                    std::shared_ptr<const PlannedReading> plan = nullptr);
  // `regions` has the scores under a plan; null: they are products of q and k.
  at::Tensor AllBlocks(const Call& call, const Prepared& prepared,
                       const RegionScorer* regions = nullptr);
  at::Tensor BlockForward(const Call& call, const Prepared& prepared, const RegionScorer* regions,
                          std::int64_t q_begin, std::int64_t n_query, std::int64_t n_whole);
  at::Tensor LastQuery(const Call& call, const Prepared& prepared, std::int64_t n_positions);
  at::Tensor BehindCache(const Call& call, AttentionCache& cache);
  at::Tensor ForwardReading(const Call& call);
  at::Tensor ForwardPiece(const Call& call, std::shared_ptr<const PlannedReading> plan);
  at::Tensor LastQueryOfReading(const Call& call, AttentionCache& cache);
  void Show(const Call& call, const Prepared& prepared, const ScoreBlock& block,
            const at::Tensor& p_BHQK) const;

  AttentionShape shape_;
  AttentionBackend backend_;
  Compute compute_;
  std::optional<Rotator> rotator_;
  std::vector<std::unique_ptr<AttentionTerm>> terms_;
  const AttentionKernel* kernel_ = nullptr;  // of `fused`
  double skip_epsilon_ = 0.0;
};

}  // namespace longrun
