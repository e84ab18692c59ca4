// FIRE's bias in kernels for few terms: a piecewise linear function of u = psi[distance] times the
// row factor of the query. Nearly every tile lies in one segment of it or in two. So a warp finds
// the segments of its part of a tile, and visits all pairs once for each: a pair takes part if it
// lies in the segment. This needs no register for the segment of a pair.
#pragma once

#include "kernels/cuda/device.h"

namespace longrun {
namespace gpu {

// The row factors of the queries of a thread's scores, in the layout of c (device.h).
template <bool kKeysAreRows, int kFragments, int kColumns>
struct RowFactors {
  float of[kKeysAreRows ? kColumns / 8 : kFragments][2] = {};

  LR_DEVICE float Get(int m, int n, int e) const {
    return kKeysAreRows ? of[n][e % 2] : of[m][e / 2];
  }
};

// Beyond the last query it is that of the last one, which does not add to the segments of a tile.
template <typename Params>
LR_DEVICE float RowFactorOf(const Params& p, int i) {
  return p.row_factor[p.q_offset + Min(i, p.n_query - 1)];
}

// Of rows that are queries, from i_0 on.
template <typename Layer, int kFragments, int kColumns, typename Params>
LR_DEVICE RowFactors<false, kFragments, kColumns> RowFactorsOf(const Params& p, int i_0) {
  RowFactors<false, kFragments, kColumns> factors;
  if constexpr (Params::kHasPieces) {
    const int first = i_0 + Layer::Opaque(Layer::Thread()) % 32 / 4;
    LR_UNROLL
    for (int m = 0; m < kFragments; ++m) {
      LR_UNROLL
      for (int half = 0; half < 2; ++half) {
        factors.of[m][half] = RowFactorOf(p, first + 16 * m + 8 * half);
      }
    }
  }
  return factors;
}

// Segment `number` of head h: of u from `low`, and less than `high`. The first segment has no lower
// bound and the last one no upper bound: they are NaN, with which nothing compares. So a u of NaN
// lies in all segments, and makes a score NaN.
struct Segment {
  int number = 0;
  float low = 0.0F, high = 0.0F, slope = 0.0F, intercept = 0.0F;

  template <typename Params>
  static LR_DEVICE Segment Of(const Params& p, int h, int number) {
    const float no_bound = __builtin_nanf("");
    const int at = h * (p.n_knot + 1) + number;
    Segment segment;
    segment.number = number;
    segment.low = number > 0 ? p.knots[number - 1] : no_bound;
    segment.high = number < p.n_knot ? p.knots[number] : no_bound;
    segment.slope = p.slope[at];
    segment.intercept = p.intercept[at];
    return segment;
  }
  LR_DEVICE bool Has(float u) const { return !(u < low) && !(u >= high); }
  LR_DEVICE float Bias(float u) const { return slope * u + intercept; }
};

// The bits of x as an integer, in the order of the numbers; and back.
LR_DEVICE int OrderOf(float x) {
  int bits = 0;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits ^ (bits >> 31 & 0x7fffffff);
}
LR_DEVICE float OfOrder(int order) {
  const int bits = order ^ (order >> 31 & 0x7fffffff);
  float x = 0.0F;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}

// The smallest and the largest of some numbers.
struct Interval {
  float smallest = -kHidden, largest = kHidden;

  LR_DEVICE void Add(float x) {
    smallest = fminf(smallest, x);
    largest = fmaxf(largest, x);
  }
  // Of the numbers of all lanes.
  template <typename Layer>
  LR_DEVICE Interval OfWarp() const {
    Interval all;
    all.smallest = OfOrder(Layer::WarpMin(OrderOf(smallest)));
    all.largest = OfOrder(Layer::WarpMax(OrderOf(largest)));
    return all;
  }
};

// The numbers [first, last] of the segments that u of psi and of row factors lies in. All lanes of
// a warp call it together, with the same intervals. Rounding keeps the order of products, so no u
// lies outside.
struct SegmentRange {
  int first = 0, last = 0;

  template <typename Layer, typename Params>
  static LR_DEVICE SegmentRange Of(const Params& p, const Interval& psi, const Interval& factors) {
    Interval u;
    u.Add(psi.smallest * factors.smallest);
    u.Add(psi.smallest * factors.largest);
    u.Add(psi.largest * factors.smallest);
    u.Add(psi.largest * factors.largest);
    SegmentRange range;
    for (int at = 0; at < p.n_knot; at += 32) {
      const int own = at + Layer::Thread() % 32;
      const float knot = own < p.n_knot ? p.knots[own] : __builtin_nanf("");
      range.first += Layer::WarpCount(knot <= u.smallest);
      range.last += Layer::WarpCount(knot <= u.largest);
    }
    return range;
  }
};

}  // namespace gpu
}  // namespace longrun
