// A term of attention: what a position method adds to the scores s[i][j], as tensors with
// gradients. Each term is one file of this folder and one line of registry.cc; the formulas are
// those of model/position/method.h (TermSpec). A rotation, which changes q and k instead of the
// scores, is rotation.h.
//
// Legend: B batch, T positions, H heads, D head_dim, C d_model, Q queries of a block, K keys.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/net/device.h"
#include "model/position/method.h"

namespace longrun {

struct KernelAttentionCall;

// Scores are formed for at most this many queries at a time.
constexpr std::int64_t kBlockQueries = 128;

// What a call gives to its terms.
struct TermCall {
  at::Tensor x_BTC;                     // the layer's input after its LayerNorm
  std::span<const at::Tensor> learned;  // in the order of TermSpec::learned
  std::int64_t n_positions = 0;         // up to the call's last token, from a cache's first one on
  at::Tensor held_BHT = {};             // the term's tensor in a cache; undefined without one
};

// The scores of the queries [q_begin, q_begin + Q) with the keys [k_begin, k_begin + K). Positions
// count from the first token that is held.
struct ScoreBlock {
  at::Tensor scores_BHQK;  // its own memory: terms may write to it
  at::Tensor q_BHQD;       // not scaled
  std::int64_t q_begin = 0, k_begin = 0;
  std::int64_t n_whole = 0;      // Q of all blocks but the last
  std::int64_t n_positions = 0;  // as in TermCall
  std::int64_t n_before = 0;     // tokens of the text before position 0: a cache forgot their keys
};

class AttentionTerm {
 public:
  using Tensors = std::vector<at::Tensor>;

  struct Traits {
    bool is_bias = true;  // false: it only hides keys
    // Whether Prepare reads x_BTC. A cache holds the result, a double per head and token.
    bool reads_input = false;
    // Whether Prepare reads only `learned` and n_positions and returns one tensor. Layers that
    // share their learned tensors then share this tensor too.
    bool is_shareable = false;
    // How many numbers AddTo holds at once for each query and key, besides the scores.
    std::int64_t n_per_pair = 0;
  };

  explicit AttentionTerm(const Traits& traits) : traits_(traits) {}
  virtual ~AttentionTerm() = default;
  AttentionTerm(const AttentionTerm&) = delete;
  AttentionTerm& operator=(const AttentionTerm&) = delete;
  const Traits& traits() const { return traits_; }

  // What all blocks of a call share: `prepared` below.
  virtual Tensors Prepare(const TermCall&) const { return {}; }
  // Adds the term to block.scores_BHQK.
  virtual void AddTo(const Tensors& prepared, ScoreBlock& block) = 0;
  // The same for a block whose only query is the last token, when tokens are read one by one.
  virtual void AddToLast(const Tensors& prepared, ScoreBlock& block) { AddTo(prepared, block); }
  // (B, H, Q): what AddTo left out because it is the same for all keys of a query, and cancels in
  // the softmax; undefined: nothing.
  virtual at::Tensor LeftOut(const Tensors&, const ScoreBlock&) const { return {}; }
  // Writes the term in the form of the fused kernel. Takes ownership of `prepared`, so that only
  // the tensors that the kernel reads stay in memory.
  virtual void Fill(Tensors prepared, KernelAttentionCall& kernel) const = 0;

 private:
  Traits traits_;
};

// The terms that the method and the shape need, in the order in which they are added.
std::vector<std::unique_ptr<AttentionTerm>> MakeTerms(const TermSpec& spec,
                                                      const AttentionShape& shape,
                                                      const Compute& compute);

// PlacesOf returns the indices of these tensors in TermSpec::learned; LearnedAt returns a call's
// tensors at such indices.
using LearnedPlaces = std::vector<std::size_t>;
LearnedPlaces PlacesOf(const TermSpec& spec, const std::vector<std::string>& names);
AttentionTerm::Tensors LearnedAt(const LearnedPlaces& places, const TermCall& call);

// The n entries of x from `begin` on along a dimension. Returns x itself if these are all its
// entries, which saves a copy in the backward pass.
inline at::Tensor Part(const at::Tensor& x, std::int64_t dim, std::int64_t begin, std::int64_t n) {
  return n == x.size(dim) ? x : x.narrow(dim, begin, n);
}

}  // namespace longrun
