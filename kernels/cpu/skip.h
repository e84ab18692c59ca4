// The proof that a tile of queries may skip the keys that it has not visited yet, except sinks.
// kernels/cpu/attention.h defines x; q~ and k~ are rotated, and q~ includes the factor
// scale log2(e).
//
// Tiles are visited from the newest keys to the oldest. Let R be the largest |k~| and c* the
// largest bias, times log2(e), among the keys not yet visited. For a row i, let n be the number of
// these keys that it sees, and largest_i the x to which its terms are relative, the x of a visited
// key. The keys not yet visited may be skipped if
//
//   log2 n + |q~_i| R + c* - largest_i <= log2 epsilon     for every row i with n > 0
//
// Then each term 2^(x - largest_i) of these keys is at most epsilon / n, and the row's sum is at
// least 1, so these keys hold at most epsilon of the row's probability. R and c* are maxima over
// ALL older keys: maxima over the current tile would miss a single huge key further away.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cpu/plan.h"

namespace longrun {

class SkipBounds {
 public:
  SkipBounds() = default;  // never stops
  // `norms`: (B, H_kv, n_key_tile), the largest |k~| of each tile.
  SkipBounds(const AttentionPlan& plan, double epsilon, const float* norms);

  // Whether epsilon > 0 and the terms have a bound: a two-sided key bias, a piecewise term or a
  // rotation with growth has none.
  static bool Applies(const AttentionTerms& terms, double epsilon);
  bool skips() const { return plan_ != nullptr; }

  struct At {
    std::int64_t b = 0, h = 0;
    std::int64_t tile = 0;            // the tile just visited; those before it are still to come
    std::int64_t first_distance = 0;  // of row 0 from key 0
    double anchor = 0.0;              // anchor of the key bias
    std::span<const KeyRange> ranges;
    std::span<const float> norms, largest;  // |q~_i| and largest_i, by row
  };
  bool MayStop(const At& at) const;

 private:
  const AttentionPlan* plan_ = nullptr;
  double log2_epsilon_ = 0.0;
  std::vector<float> norm_max_;      // (B, H_kv, n_key_tile): of this tile and all before it
  std::vector<double> bias_max_;     // (B, H, n_key_tile): likewise; empty without a key bias
  std::vector<float> distance_max_;  // (H, n_reversed): the largest bias at this distance or more
};

}  // namespace longrun
