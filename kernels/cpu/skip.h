// The proof that the keys of a row of tiles which were not visited yet may be left out.
//
// Tiles are visited from the newest keys to the oldest. Let n be the visible keys that are left, R the
// largest |k~| among all of them, c* the largest bias among them; |q~_i| carries scale log2(e):
//
//   log2 n + |q~_i| R + c* - largest_i <= log2 epsilon     for every row i that sees one of them
//
// Each of their terms 2^(x - largest_i) is then at most epsilon / n, and the row's sum at least 1, so
// that they hold at most epsilon of the row's probability. R and c* are maxima over ALL older keys: of
// the tile at hand alone they would overlook one huge far key.
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

  // Whether these terms have a bound at all: two-sided and piecewise ones and growth have not.
  static bool Applies(const AttentionTerms& terms, double epsilon);
  bool skips() const { return plan_ != nullptr; }

  struct At {
    std::int64_t b = 0, h = 0;
    std::int64_t tile = 0;            // the last that was visited; all before it are left
    std::int64_t first_position = 0;  // of row 0
    double anchor = 0.0;              // of the key bias
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
