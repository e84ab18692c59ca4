// A two-sided key bias in kernels for few terms: r_i - r_j if key j is not after query i, else
// r_j - r_i. Nearly every tile lies on one side of the diagonal, where the sign is the same for all
// pairs.
#pragma once

#include "kernels/cuda/device.h"

namespace longrun {
namespace gpu {

// On which side of the diagonal the pairs of a warp's part of a tile lie.
template <typename Layer, bool kKeysAreRows, int kFragments, int kColumns>
struct Sides {
  int distance = 0;  // query minus key of the warp's first row and its first column

  // 1: no key is after its query; -1: all are; 0: some are. At the query's own position, the bias
  // is 0 with either sign. What the kernels of queries and of keys add to the gradient of r there
  // only cancels if both have the same sign.
  LR_DEVICE int Side() const {
    constexpr int kWarpRows = 16 * kFragments;
    const int nearest = distance + 1 - (kKeysAreRows ? kWarpRows : kColumns);
    const int farthest = distance - 1 + (kKeysAreRows ? kColumns : kWarpRows);
    return nearest >= 0 ? 1 : farthest < 0 ? -1 : 0;
  }
  // Whether the key of one of the thread's pairs is after its query.
  LR_DEVICE bool IsAhead(int m, int n, int e) const {
    const int thread = Layer::Opaque(Layer::Thread()), g = thread % 32 / 4, t = thread % 4;
    const int row = 16 * m + 8 * (e / 2) + g, column = 8 * n + 2 * t + e % 2;
    return distance + (kKeysAreRows ? column - row : row - column) < 0;
  }
  // Changes ds so that the sums of its rows, times the sign that is returned, are the sums of what
  // has to be added to the gradient of r_i; the gradient of r_j has the other sign.
  LR_DEVICE float Sign(float (&ds)[kFragments][kColumns / 8][4]) const {
    const int side = Side();
    if (side != 0) return static_cast<float>(side);
    LR_UNROLL
    for (int n = 0; n < kColumns / 8; ++n) {
      LR_UNROLL
      for (int m = 0; m < kFragments; ++m) {
        LR_UNROLL
        for (int e = 0; e < 4; ++e) ds[m][n][e] = IsAhead(m, n, e) ? -ds[m][n][e] : ds[m][n][e];
      }
    }
    return 1.0F;
  }
};

}  // namespace gpu
}  // namespace longrun
