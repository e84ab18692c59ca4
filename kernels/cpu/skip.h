// The proof that the keys not yet visited by a row of tiles may be skipped.
//
// Tiles are visited from the newest keys to the oldest. Let n be the number of visible keys not yet
// visited, R the largest |k~| among them, c* the largest bias among them; |q~_i| includes the
// factor scale log2(e):
//
//   log2 n + |q~_i| R + c* - largest_i <= log2 epsilon     for every row i that sees one of them
//
// Each of their terms 2^(x - largest_i) is then at most epsilon / n, and the row's sum is at least
// 1, so they hold at most epsilon of the row's probability. R and c* are maxima over ALL older
// keys: maxima over the current tile would miss a single huge key further away.
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

  // Whether these terms have a bound: two-sided and piecewise terms and growth do not.
  static bool Applies(const AttentionTerms& terms, double epsilon);
  bool skips() const { return plan_ != nullptr; }

  struct At {
    std::int64_t b = 0, h = 0;
    std::int64_t tile = 0;            // the tile visited last; all before it are not yet visited
    std::int64_t first_position = 0;  // the position of row 0
    double anchor = 0.0;              // anchor of the key bias
    std::span<const KeyRange> ranges;
    std::span<const float> norms, largest;  // |q~_i| and the largest x, by row
  };
  bool MayStop(const At& at) const;

 private:
  const AttentionPlan* plan_ = nullptr;
  double log2_epsilon_ = 0.0;
  std::vector<float> norm_max_;      // (B, H_kv, n_key_tile): of this tile and all before it
  std::vector<double> bias_max_;     // (B, H, n_key_tile): the same; empty without a key bias
  std::vector<float> distance_max_;  // (H, n_reversed): the largest at this j - p or less
};

}  // namespace longrun
