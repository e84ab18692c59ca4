// What a layer keeps of the tokens that were read before: their keys and values, and numbers of the
// position method.
//
// Tensors have room for more tokens than they hold. Room grows by half of what is needed, up to the
// capacity, so a short text costs little whatever its capacity. Keys that no later query sees are
// forgotten: those before a window, except for sinks. So under a window, a text of any length costs
// what the window, the sinks and the tokens of one call cost.
//
//   held     = tokens [0, front) and [front + forgotten, n)
//   front    = n_sink, rounded up to whole tiles;  forgotten: whole tiles, too
//
// Tokens are forgotten in whole tiles of the kernels, so that a key stays at its place in its tile
// and sums are in the same order. When they are forgotten depends only on the numbers of tokens
// that were read in each call: the capacity changes no bit.
//
// Legend: B batch, H heads, T room, D head_dim.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "model/extension/reading.h"

namespace longrun {

struct AttentionCache {
  // Of type compute.product. If the method rotates, k_BHTD has rotated keys, except under a reading
  // (Attention::Call::reading): then its keys are not rotated, and key_sets has the rotated ones.
  at::Tensor k_BHTD, v_BHTD;
  std::vector<at::Tensor> of_terms_BHT;  // by term: its TermCall::held_BHT, or undefined
  std::int64_t capacity = 0;             // the most tokens of the text
  KeysSeen seen;
  std::int64_t n = 0;  // number of tokens read
  HeldKeys held = {};  // those whose keys are still here; rows of the tensors are places
  // Like k_BHTD, one for each key set of the plan (planned_reading.h); made when single tokens are
  // read.
  std::vector<at::Tensor> key_sets = {};
  std::int64_t n_rotated = 0;       // number of keys in each of key_sets
  std::int64_t n_rotated_text = 0;  // length of the text for which they were rotated

  std::int64_t n_held() const { return held.PlaceOf(n); }
  std::int64_t n_room() const { return k_BHTD.size(2); }
  // Makes room for n_new tokens more.
  void MakeRoom(std::int64_t n_new);
  // Makes room for all tokens that the cache will hold before it forgets any.
  void Reserve();
  // Adds the keys and values of n_new tokens; there must be room for them.
  void Add(const at::Tensor& k_BHND, const at::Tensor& v_BHND);
  // What a layer keeps of rows_R of the batch, int64, on the device, each as often as it is named.
  AttentionCache Rows(const at::Tensor& rows_R) const;
  // Forgets keys that no later query sees, if there are enough to be worth the copy of the others.
  void Forget();
};

}  // namespace longrun
