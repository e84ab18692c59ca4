// A network as its readers see it: tokens go in, and each given token gets one row of hidden
// states, from which head() makes logits. Readers see neither how it is built nor the tokens that
// it may insert between the given ones.
//
// Legend: B batch, T positions, C d_model.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "base/status.h"
#include "model/architecture/architecture.h"
#include "model/attention_path.h"
#include "model/net/attention_observer.h"
#include "model/net/device.h"
#include "model/net/head.h"
#include "model/net/keys_place.h"
#include "model/net/parameters.h"
#include "model/net/weight_copies.h"

namespace longrun {

// What a network reads.
struct Batch {
  at::Tensor ids_BT;  // int64, on the device, within [0, V), of a length that passed CheckLength
  // (B, T), int32, on the device: the position to which the query and the key of each token are
  // rotated, from 0 to n_positions - 1; undefined: its place in the sequence. Only for a network
  // that passed CheckPositionIds.
  at::Tensor position_ids_BT = {};
  std::int64_t n_positions = 0;
};

// What a network keeps of the texts that it has read, one per sequence of a batch, in order to read
// on. Only the network that made it can use it.
class NetState {
 public:
  virtual ~NetState() = default;
  NetState(const NetState&) = delete;
  NetState& operator=(const NetState&) = delete;
  // The number of tokens of each text that were read.
  virtual std::int64_t n_read() const = 0;
  // Takes the memory for texts as long as the capacity now, instead of with their growth.
  virtual void Reserve() = 0;
  // A new state of texts that begin like rows_R of this batch, int64, on the device, each as often
  // as it is named. Not for keys in the host's memory.
  virtual std::unique_ptr<NetState> Rows(const at::Tensor& rows_R) const = 0;

 protected:
  NetState() = default;
};

class Net {
 public:
  virtual ~Net() = default;

  virtual const NetConfig& config() const = 0;
  virtual const Compute& compute() const = 0;
  virtual AttentionBackend backend() const = 0;
  // Leaves of the graph; with RequireGradients(true), Hidden() records gradients.
  virtual const ParameterMap& parameters() const = 0;
  virtual void RequireGradients(bool required) = 0;
  // If on, the backward pass computes a block's intermediate results again instead of keeping them
  // (recompute.h): the same bits, less memory. This object must not move between Hidden() and the
  // backward pass.
  virtual void SetActivationCheckpointing(bool on) = 0;
  // Where Hidden() records gradients, fused attention may leave out the oldest keys once they
  // provably hold less than this fraction of every row (AttentionKernelOptions); 0: none. What
  // reads without gradients skips as it always does.
  virtual void SetSkipEpsilon(double skip_epsilon) = 0;
  // From now on keeps matrices in the type of products from pass to pass, for whoever trains. Does
  // nothing if products take the weights' own type.
  virtual void KeepWeightCopies() = 0;
  // Null unless they are kept.
  virtual const std::shared_ptr<WeightCopies>& weight_copies() const = 0;
  // If the embeddings are tied, the head's weight is the embedding.
  virtual const Head& head() const = 0;
  // Memory for the gradient of head().weight_VC, kept between passes and steps.
  virtual GradientRoom* head_room() = 0;

  // kOutOfRange if a sequence of n_tokens does not fit the model's position table, or its extension
  // cannot read so many. If it can, it can read any fewer.
  virtual Status CheckLength(std::int64_t n_tokens) const = 0;
  // kUnimplemented under an extension that places keys (Extension::read).
  virtual Status CheckGradients() const = 0;
  // kUnimplemented unless a rotation is all that tells this network a token's position.
  virtual Status CheckPositionIds() const = 0;
  // The longest text that can be read with a state; 0: any. An extension that depends on the length
  // reads all tokens of a longer text again (model/extension/).
  virtual std::int64_t CachedLengthMax() const = 0;
  // Whether a text may be read in any cuts: false under an extension that reads in pieces of its
  // own (Extension::piece).
  virtual bool ReadsInAnyCuts() const = 0;
  // Whether the hidden state of a token is the same, to the bit, in every text of at most n_tokens
  // that begins with the tokens up to it, if the texts are read in the same parts by Read.
  virtual bool SharesPrefixes(std::int64_t n_tokens) const = 0;

  // (B, T, C), after the final norm.
  virtual at::Tensor Hidden(const Batch& batch) = 0;
  at::Tensor Hidden(const at::Tensor& ids_BT) { return Hidden(Batch{.ids_BT = ids_BT}); }

  // The state before any token of `batch` texts, of at most `capacity` tokens each. Only for a
  // causal network.
  virtual std::unique_ptr<NetState> NewState(std::int64_t batch, std::int64_t capacity,
                                             KeysPlace place = KeysPlace::kDevice) const = 0;
  // Reads the tokens ids (B, T) that follow those in the state, without gradients, and adds them to
  // the state: (B, T, C). n_to_come more tokens of the text are known to follow in later calls; an
  // extension that reads in pieces needs the number. The length of the whole text must have passed
  // CheckLength.
  virtual at::Tensor Read(const at::Tensor& ids_BT, NetState& state,
                          std::int64_t n_to_come = 0) = 0;
  // Like calls of Read for n_part tokens each, to the bit; the last may have fewer. If the keys are
  // in the host's memory, they come to the device once for all of these.
  virtual at::Tensor ReadParts(const at::Tensor& ids_BT, NetState& state, std::int64_t n_part,
                               std::int64_t n_to_come) = 0;
  // The same for the last of these tokens only, (B, 1, C). Of the last layer it computes, besides
  // keys and values, only what this token needs.
  virtual at::Tensor ReadLast(const at::Tensor& ids_BT, NetState& state,
                              std::int64_t n_to_come = 0) = 0;

  // Runs the first n_layers layers like Hidden, without gradients. `before(l, observer)` is called
  // before layer l: it sets the observer of the layer's attention (empty: none), or returns false
  // to stop. Returns false if `before` stopped it.
  virtual bool Observe(
      const at::Tensor& ids_BT, std::int64_t n_layers,
      const std::function<bool(std::int64_t layer, AttentionObserver&)>& before) = 0;

 protected:
  Net() = default;
  Net(const Net&) = default;
  Net(Net&&) = default;
  Net& operator=(const Net&) = default;
  Net& operator=(Net&&) = default;
};

// Makes the network of config.model.architecture. Takes the named parameters and moves them to the
// device and type of `compute`. They must be those of ParametersOf(config.model), in any
// floating-point type (the caller guarantees it: LR_CHECK). kUnimplemented if the back-end lacks a
// term of the position method; kInvalidArgument if config.extension does not fit it.
Result<std::unique_ptr<Net>> MakeNet(const NetConfig& config, ParameterMap parameters,
                                     AttentionBackend backend, const Compute& compute);
// Whether MakeNet can make networks of the architecture (model/architecture/).
bool HasNet(std::string_view architecture);

}  // namespace longrun
