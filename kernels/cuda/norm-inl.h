// Residual addition and LayerNorm or RMSNorm, forward and backward: the formulas of kernels/norm.h.
// All tensors are read once and written once.
//
// A row of up to 1,024 channels belongs to a warp, a longer one to a block; a lane has every 32nd
// (128th) chunk of 8 channels. Up to 4,096 channels, the row stays in registers (kHeld chunks for
// each lane). Longer rows, and rows whose chunks are not aligned, are read again for each pass,
// from caches.
//
// Backward rounds its part of dx before it adds ds: the bits are those of two gradients that are
// added afterwards, as they are where the sum was not computed here.
//
// In rows far from 0, the mean's rounding may be as large as the deviations from it. So forward
// also subtracts the mean of s - mean, which is that rounding.
#pragma once

#include "kernels/cuda/columns-inl.h"

namespace longrun {
namespace gpu {

// How rows are given to threads.
template <int kTheWarps, int kTheHeld, bool kIsAligned>
struct RowShape {
  static constexpr int kWarpsOfRow = kTheWarps, kHeld = kTheHeld;
  static constexpr bool kAligned = kIsAligned;
  static constexpr int kStep = kWarpsOfRow * 32 * kChunk;  // from one chunk of a lane to the next
  static constexpr int kChunks = kHeld > 0 ? kHeld : 1;    // in registers at once
};
using ShortRows = RowShape<1, 3, true>;      // up to 768 channels
using MiddleRows = RowShape<1, 4, true>;     // up to 1,024
using LongRows = RowShape<kWarps, 4, true>;  // up to 4,096
using AnyRows = RowShape<kWarps, 0, true>;
using UnalignedRows = RowShape<kWarps, 0, false>;

struct NoAddend {};

// Calls body(k, c) for the chunks of this thread, where c is the first channel of the chunk and k
// its number in registers.
template <typename Shape, typename Body>
LR_DEVICE void ForChunks(int first, int n_channel, const Body& body) {
  if constexpr (Shape::kHeld > 0) {
    LR_UNROLL
    for (int k = 0; k < Shape::kHeld; ++k) {
      if (first + k * Shape::kStep < n_channel) body(k, first + k * Shape::kStep);
    }
  } else {
    LR_ROLL
    for (int c = first; c < n_channel; c += Shape::kStep) body(0, c);
  }
}

// The sum over the threads of a row. Several sums between two barriers need several slots.
template <typename Layer, typename Shape, typename Shares>
LR_DEVICE void ShareOfRow(const Shares& shares, int slot, float& x) {
  x = Layer::WarpSum(x);
  if constexpr (Shape::kWarpsOfRow > 1) {
    if (Layer::Thread() % 32 == 0) shares.Set(slot * kWarps + Layer::Thread() / 32, x);
  }
}
template <typename Layer, typename Shape>
LR_DEVICE void WaitForRow() {
  if constexpr (Shape::kWarpsOfRow > 1) Layer::Barrier();
}
template <typename Layer, typename Shape, typename Shares>
LR_DEVICE float TotalOfRow(const Shares& shares, int slot, float x) {
  if constexpr (Shape::kWarpsOfRow > 1) {
    x = 0.0F;
    LR_UNROLL
    for (int warp = 0; warp < kWarps; ++warp) x += shares.Get(slot * kWarps + warp);
  }
  return x;
}

// ---- forward -----------------------------------------------------------------------------------

struct NormForwardParams {
  std::int64_t n_row = 0;
  int n_channel = 0, centred = 1;
  float epsilon = 0.0F, scale = 0.0F;  // scale: 1 / n_channel
  const float* x = nullptr;
  const void* addend = nullptr;
  const float *gamma = nullptr, *beta = nullptr;  // beta may be null
  float* sum = nullptr;                           // null without an addend
  void* y = nullptr;
  float *mean = nullptr, *rstd = nullptr;  // mean may be null
};

template <typename TheLayer, typename Addend, typename Y, typename Shape>
struct NormForwardKernel {
  using Layer = TheLayer;
  using Params = NormForwardParams;
  static constexpr bool kAdds = !std::is_same_v<Addend, NoAddend>;
  using Added = std::conditional_t<kAdds, Addend, float>;
  static constexpr int kRowsOfBlock = kWarps / Shape::kWarpsOfRow;
  static constexpr int kSlots = 3;

  static int SharedBytes(const Params& /*p*/) { return kSlots * kWarps * 4; }
  static std::int64_t Blocks(const Params& p) {
    return (p.n_row + kRowsOfBlock - 1) / kRowsOfBlock;
  }

  static LR_DEVICE void Run(const Params& p) {
    typename Layer::Arena arena;
    const auto shares = arena.template Take<float>(kSlots * kWarps);
    const bool by_warp = Shape::kWarpsOfRow == 1;
    const std::int64_t row = Layer::Block() * kRowsOfBlock + (by_warp ? Layer::Thread() / 32 : 0);
    if (row >= p.n_row) return;
    const int first = (by_warp ? Layer::Thread() % 32 : Layer::Thread()) * kChunk;
    const int n = p.n_channel;
    const float* const x = p.x + row * n;
    float* const sum = kAdds ? p.sum + row * n : nullptr;
    Y* const y = static_cast<Y*>(p.y) + row * n;

    alignas(16) float s[Shape::kChunks][kChunk] = {};
    alignas(16) Added a[Shape::kChunks][kChunk] = {};
    float total = 0.0F;
    const auto load = [&](int k, int c) {
      ReadChunk<Layer, Shape::kAligned>(x, c, n, s[k]);
      if constexpr (kAdds) {
        const Addend* const addend = static_cast<const Addend*>(p.addend) + row * n;
        ReadChunk<Layer, Shape::kAligned>(addend, c, n, a[k]);
      }
    };
    const auto add = [&](int k, int c) {
      if constexpr (kAdds) {
        LR_UNROLL
        for (int i = 0; i < kChunk; ++i) s[k][i] += Widened(a[k][i]);
        WriteChunk<Layer, Shape::kAligned>(sum, c, n, s[k]);
      }
      LR_UNROLL
      for (int i = 0; i < kChunk; ++i) total += s[k][i];
    };
    // All loads of a row begin before the first one is waited for.
    if constexpr (Shape::kHeld > 0) {
      ForChunks<Shape>(first, n, load);
      ForChunks<Shape>(first, n, add);
    } else {
      ForChunks<Shape>(first, n, [&](int k, int c) {
        load(k, c);
        add(k, c);
      });
    }
    const auto again = [&](int k, int c) {
      if constexpr (Shape::kHeld == 0) {
        ReadChunk<Layer, Shape::kAligned>(kAdds ? sum : x, c, n, s[k]);
      }
    };

    float mean = 0.0F;
    if (p.centred != 0) {
      ShareOfRow<Layer, Shape>(shares, 0, total);
      WaitForRow<Layer, Shape>();
      mean = TotalOfRow<Layer, Shape>(shares, 0, total) * p.scale;
    }
    float squares = 0.0F, rest = 0.0F;
    ForChunks<Shape>(first, n, [&](int k, int c) {
      again(k, c);
      LR_UNROLL
      for (int i = 0; i < kChunk; ++i) {
        if (!Exists<Shape::kAligned>(c + i, n)) continue;
        const float d = s[k][i] - mean;
        squares += d * d;
        rest += d;
      }
    });
    ShareOfRow<Layer, Shape>(shares, 1, squares);
    ShareOfRow<Layer, Shape>(shares, 2, rest);
    WaitForRow<Layer, Shape>();
    squares = TotalOfRow<Layer, Shape>(shares, 1, squares) * p.scale;
    rest = p.centred != 0 ? TotalOfRow<Layer, Shape>(shares, 2, rest) * p.scale : 0.0F;
    const float variance = squares - rest * rest;
    // Not fmaxf, which would lose a NaN.
    const float rstd = 1.0F / sqrtf((variance < 0.0F ? 0.0F : variance) + p.epsilon);
    if (first == 0) {
      if (p.mean != nullptr) p.mean[row] = mean + rest;
      p.rstd[row] = rstd;
    }
    ForChunks<Shape>(first, n, [&](int k, int c) {
      again(k, c);
      alignas(16) float gamma[kChunk], beta[kChunk] = {};
      ReadChunk<Layer, Shape::kAligned>(p.gamma, c, n, gamma);
      if (p.beta != nullptr) ReadChunk<Layer, Shape::kAligned>(p.beta, c, n, beta);
      alignas(16) float result[kChunk];
      LR_UNROLL
      for (int i = 0; i < kChunk; ++i) {
        result[i] = (s[k][i] - mean - rest) * rstd * gamma[i] + beta[i];
      }
      WriteChunk<Layer, Shape::kAligned>(y, c, n, result);
    });
  }
};

// ---- backward ----------------------------------------------------------------------------------

struct NormBackwardParams {
  std::int64_t n_row = 0, rows_of_range = 0;
  int n_channel = 0, centred = 1;
  float scale = 0.0F;
  const void* dy = nullptr;
  const float *sum = nullptr, *gamma = nullptr, *mean = nullptr, *rstd = nullptr;
  const float* d_sum = nullptr;  // may be null
  float* dx = nullptr;
  Bf16Bits* d_addend = nullptr;  // may be null
  // (ranges, C): the sums of dy n and of dy over a range of rows; null: not asked for.
  float *gamma_sums = nullptr, *beta_sums = nullptr;
};

// A block owns a range of rows. Sums over its rows stay in the registers of the thread that owns
// the channel; the four warps of a block, which have different rows, add theirs in shared memory.
template <typename TheLayer, typename Dy, typename Shape>
struct NormBackwardKernel {
  using Layer = TheLayer;
  using Params = NormBackwardParams;
  static constexpr bool kByWarp = Shape::kWarpsOfRow == 1;
  static constexpr int kSlots = 4;  // two sums, of two rows in turn

  static int SharedBytes(const Params& p) {
    return kByWarp ? kWarps * p.n_channel * 4 : kSlots * kWarps * 4;
  }
  static std::int64_t Blocks(const Params& p) { return RangesOf(p.n_row, p.rows_of_range); }

  struct ColumnSums {
    alignas(16) float gamma[Shape::kChunks][kChunk] = {};
    alignas(16) float beta[Shape::kChunks][kChunk] = {};
  };

  // Adds to what this thread has left in memory for the rows of the range before this one.
  static LR_DEVICE void AddInMemory(float* sums, int c, int n, bool is_first,
                                    const float (&x)[kChunk]) {
    LR_UNROLL
    for (int i = 0; i < kChunk; ++i) {
      if (!Exists<Shape::kAligned>(c + i, n)) continue;
      sums[c + i] = is_first ? x[i] : sums[c + i] + x[i];
    }
  }

  // The sums of the warps, in the order of the warps.
  template <typename Shares>
  static LR_DEVICE void AddWarps(const Shares& shares, int first, int n,
                                 const float (&x)[Shape::kChunks][kChunk], float* sums) {
    const int warp = Layer::Thread() / 32;
    ForChunks<Shape>(first, n, [&](int k, int c) { shares.SetEight(warp * n + c, x[k]); });
    Layer::Barrier();
    for (int c = Layer::Thread(); c < n; c += kThreads) {
      float sum = 0.0F;
      LR_UNROLL
      for (int of = 0; of < kWarps; ++of) sum += shares.Get(of * n + c);
      sums[c] = sum;
    }
  }

  static LR_DEVICE void Run(const Params& p) {
    typename Layer::Arena arena;
    const int n = p.n_channel;
    const auto shares = arena.template Take<float>(kByWarp ? kWarps * n : kSlots * kWarps);
    const int first = (kByWarp ? Layer::Thread() % 32 : Layer::Thread()) * kChunk;
    const std::int64_t begin = Layer::Block() * p.rows_of_range;
    const std::int64_t end = begin + p.rows_of_range < p.n_row ? begin + p.rows_of_range : p.n_row;
    float* const gamma_sums = p.gamma_sums == nullptr ? nullptr : p.gamma_sums + Layer::Block() * n;
    float* const beta_sums = p.beta_sums == nullptr ? nullptr : p.beta_sums + Layer::Block() * n;

    ColumnSums columns;
    int slot = 0;
    LR_ROLL
    for (std::int64_t row = begin + (kByWarp ? Layer::Thread() / 32 : 0); row < end;
         row += kByWarp ? kWarps : 1) {
      const float mean = p.centred != 0 ? p.mean[row] : 0.0F;
      const float rstd = p.rstd[row];
      const float* const sum = p.sum + row * n;
      const Dy* const dy = static_cast<const Dy*>(p.dy) + row * n;
      const float* const d_sum = p.d_sum == nullptr ? nullptr : p.d_sum + row * n;

      // As loaded, then n and g.
      alignas(16) float normed[Shape::kChunks][kChunk] = {}, g[Shape::kChunks][kChunk] = {};
      alignas(16) Dy given[Shape::kChunks][kChunk] = {};
      alignas(16) float other[Shape::kChunks][kChunk] = {};
      const auto load = [&](int k, int c) {
        ReadChunk<Layer, Shape::kAligned>(sum, c, n, normed[k]);
        ReadChunk<Layer, Shape::kAligned>(dy, c, n, given[k]);
      };
      const auto load_other = [&](int k, int c) {
        ReadChunk<Layer, Shape::kAligned>(d_sum, c, n, other[k]);
      };
      const auto normalise = [&](int k, int c) {
        alignas(16) float gamma[kChunk];
        ReadChunk<Layer, Shape::kAligned>(p.gamma, c, n, gamma);
        LR_UNROLL
        for (int i = 0; i < kChunk; ++i) {
          normed[k][i] = (normed[k][i] - mean) * rstd;
          g[k][i] = Widened(given[k][i]) * gamma[i];
        }
      };
      float sum_g = 0.0F, sum_gn = 0.0F;
      const auto sum_up = [&](int k, int c) {
        // Where there is no channel, g and dy are 0.
        alignas(16) float of_gamma[kChunk], of_beta[kChunk];
        LR_UNROLL
        for (int i = 0; i < kChunk; ++i) {
          sum_g += g[k][i];
          sum_gn += g[k][i] * normed[k][i];
          of_beta[i] = Widened(given[k][i]);
          of_gamma[i] = of_beta[i] * normed[k][i];
        }
        if constexpr (Shape::kHeld > 0) {
          LR_UNROLL
          for (int i = 0; i < kChunk; ++i) {
            columns.gamma[k][i] += of_gamma[i];
            columns.beta[k][i] += of_beta[i];
          }
        } else {
          if (gamma_sums != nullptr) AddInMemory(gamma_sums, c, n, row == begin, of_gamma);
          if (beta_sums != nullptr) AddInMemory(beta_sums, c, n, row == begin, of_beta);
        }
      };
      if constexpr (Shape::kHeld > 0) {
        ForChunks<Shape>(first, n, load);
        if (d_sum != nullptr) ForChunks<Shape>(first, n, load_other);
        ForChunks<Shape>(first, n, normalise);
        ForChunks<Shape>(first, n, sum_up);
      } else {
        ForChunks<Shape>(first, n, [&](int k, int c) {
          load(k, c);
          normalise(k, c);
          sum_up(k, c);
        });
      }
      ShareOfRow<Layer, Shape>(shares, slot, sum_g);
      ShareOfRow<Layer, Shape>(shares, slot + 1, sum_gn);
      WaitForRow<Layer, Shape>();
      const float mean_g =
          p.centred != 0 ? TotalOfRow<Layer, Shape>(shares, slot, sum_g) * p.scale : 0.0F;
      const float mean_gn = TotalOfRow<Layer, Shape>(shares, slot + 1, sum_gn) * p.scale;
      slot ^= 2;  // other threads may still read these
      ForChunks<Shape>(first, n, [&](int k, int c) {
        if constexpr (Shape::kHeld == 0) {
          load(k, c);
          normalise(k, c);
          if (d_sum != nullptr) load_other(k, c);
        }
        alignas(16) float result[kChunk];
        LR_UNROLL
        for (int i = 0; i < kChunk; ++i) {
          result[i] =
              other[k][i] + Layer::RoundedProduct(rstd, g[k][i] - mean_g - normed[k][i] * mean_gn);
        }
        WriteChunk<Layer, Shape::kAligned>(p.dx + row * n, c, n, result);
        if (p.d_addend != nullptr) {
          WriteChunk<Layer, Shape::kAligned>(p.d_addend + row * n, c, n, result);
        }
      });
    }

    if constexpr (Shape::kHeld > 0) {
      if (gamma_sums == nullptr) return;
      if constexpr (kByWarp) {
        AddWarps(shares, first, n, columns.gamma, gamma_sums);
        if (beta_sums == nullptr) return;
        Layer::Barrier();
        AddWarps(shares, first, n, columns.beta, beta_sums);
      } else {
        ForChunks<Shape>(first, n, [&](int k, int c) {
          WriteChunk<Layer, true>(gamma_sums, c, n, columns.gamma[k]);
          if (beta_sums != nullptr) WriteChunk<Layer, true>(beta_sums, c, n, columns.beta[k]);
        });
      }
    }
  }
};

}  // namespace gpu
}  // namespace longrun
