// Tiles of rows in shared memory, and the two products of attention over them. A warp owns 16 rows
// of the results, in the layout of c (device.h), for inputs of both types:
//
//   AddRowProducts   s += a b^T   a: rows of a tile; b: rows of a tile, which are columns of s
//   AddProducts      o += p b     p: scores in the layout of c; b: a tile, one row for each column
//                                 of p
//
// bf16 is multiplied by tensor cores with sums in fp32, and p is rounded to bf16. fp32 is
// multiplied by plain FMAs.
#pragma once

#include "kernels/cuda/device.h"

namespace longrun {
namespace gpu {

struct Bf16Math {
  using Element = std::uint16_t;
  static constexpr int kScalar = kScalarBf16;
  static constexpr int kPad = 8;  // elements between rows: 8 rows then lie in different banks
  static LR_DEVICE Element FromFloat(float x) { return ToBf16(x); }
  static constexpr int Columns(int head_dim) { return head_dim > 128 ? 32 : 64; }
  static constexpr int ScratchFloats(int /*columns*/) { return 0; }
};

struct Fp32Math {
  using Element = float;
  static constexpr int kScalar = kScalarFp32;
  static constexpr int kPad = 4;
  static LR_DEVICE Element FromFloat(float x) { return x; }
  static constexpr int Columns(int head_dim) { return head_dim > 64 ? 32 : 64; }
  // Where each warp keeps the p that its lanes share.
  static constexpr int ScratchFloats(int columns) { return kRows * (columns + 4); }
};

// With narrow tiles, blocks of up to 128 channels need at most 99 KiB of shared memory, which every
// GPU from compute capability 8.0 has.
struct NarrowFp32Math : Fp32Math {
  static constexpr int Columns(int /*head_dim*/) { return 8; }
};

// The channels of a head for which kernels are compiled, the columns of their tiles, and what is
// known of their terms.
template <typename TheMath, int kTheHeadDim, typename TheParams = Params>
struct Shape {
  using Math = TheMath;
  using Params = TheParams;
  using Element = typename Math::Element;
  static constexpr int kHeadDim = kTheHeadDim;
  static constexpr int kColumns = Math::Columns(kHeadDim);
  static constexpr int kStride = kHeadDim + Math::kPad;
  using Layout = PaddedRows<kStride>;
  static constexpr int kScratch = Math::ScratchFloats(kColumns);
  static constexpr int TileBytes(int n_row) {
    return n_row * kStride * static_cast<int>(sizeof(Element));
  }
};

// Copies rows [begin, begin + n_tile_row) of a head, of n_row rows, to a tile. Rows and channels
// beyond the end become 0. `data` is rows.data or rows.low.
template <typename Layer, typename Shape, typename Params>
LR_DEVICE void LoadTile(const Params& p, const Rows& rows, const void* data, int b, int h,
                        int begin, int n_tile_row, int n_row,
                        typename Layer::template Shared<typename Shape::Element> to) {
  using Element = typename Shape::Element;
  constexpr int kChunks = Shape::kHeadDim / kChunk;
  const bool copies =
      Params::kCopiesRows || (rows.scalar == Shape::Math::kScalar && rows.is_aligned != 0);
  for (int at = Layer::Thread(); at < n_tile_row * kChunks; at += kThreads) {
    const int r = at / kChunks, channel = at % kChunks * kChunk;
    if (channel >= p.width) continue;
    alignas(16) Element x[kChunk];
    const std::int64_t from = rows.At(b, h, begin + r) + channel;
    if (begin + r >= n_row || channel >= p.head_dim) {
      LR_UNROLL
      for (int c = 0; c < kChunk; ++c) x[c] = 0;
    } else if (copies) {
      Layer::LoadEight(static_cast<const Element*>(data) + from, x);
    } else {
      LR_UNROLL
      for (int c = 0; c < kChunk; ++c) {
        x[c] = Shape::Math::FromFloat(ReadNumber(rows.scalar, data, from + c));
      }
    }
    to.SetEight(r * Shape::kStride + channel, x);
  }
}

// s += a b^T. The warp's rows of a begin at `row`.
template <typename Layer, typename Shape, int kColumns, typename Params>
LR_DEVICE void AddRowProducts(const Params& p,
                              typename Layer::template Shared<typename Shape::Element> a, int row,
                              typename Layer::template Shared<typename Shape::Element> b,
                              float (&s)[kColumns / 8][4]) {
  if constexpr (Shape::Math::kScalar == kScalarBf16) {
    LR_UNROLL
    for (int k = 0; k < Shape::kHeadDim; k += 16) {
      if (k < p.width) {
        std::uint32_t a_operand[4];
        Layer::template LoadA<typename Shape::Layout>(a, row, k, a_operand);
        std::uint32_t b_operand[kColumns / 8][2];
        LR_UNROLL
        for (int n = 0; n < kColumns; n += 16) {
          std::uint32_t pair[2][2];
          Layer::template LoadB<typename Shape::Layout>(b, n, k, pair);
          LR_UNROLL
          for (int i = 0; i < 4; ++i) b_operand[n / 8 + i / 2][i % 2] = pair[i / 2][i % 2];
        }
        Layer::template Mma<kColumns / 8>(s, a_operand, b_operand);
      }
    }
  } else {
    constexpr int kStride = Shape::kStride;
    const int g = Layer::Thread() % 32 / 4, t = Layer::Thread() % 4;
    for (int k = 0; k < p.width; k += 4) {
      float a_rows[2][4];
      a.GetFour((row + g) * kStride + k, a_rows[0]);
      a.GetFour((row + g + 8) * kStride + k, a_rows[1]);
      LR_UNROLL
      for (int n = 0; n < kColumns / 8; ++n) {
        LR_UNROLL
        for (int i = 0; i < 2; ++i) {
          float b_row[4];
          b.GetFour((8 * n + 2 * t + i) * kStride + k, b_row);
          LR_UNROLL
          for (int c = 0; c < 4; ++c) {
            s[n][i] += a_rows[0][c] * b_row[c];
            s[n][2 + i] += a_rows[1][c] * b_row[c];
          }
        }
      }
    }
  }
}

// o += p b for channels [channel, channel + kOut) of b.
template <typename Layer, typename Shape, int kColumns, int kOut, typename Params>
LR_DEVICE void AddProducts(const Params& p, const float (&x)[kColumns / 8][4],
                           typename Layer::template Shared<float> scratch,
                           typename Layer::template Shared<typename Shape::Element> b, int channel,
                           float (&o)[kOut / 8][4]) {
  if constexpr (Shape::Math::kScalar == kScalarBf16) {
    LR_UNROLL
    for (int k = 0; k < kColumns / 16; ++k) {
      const std::uint32_t a_operand[4] = {Layer::PackBf16(x[2 * k][0], x[2 * k][1]),
                                          Layer::PackBf16(x[2 * k][2], x[2 * k][3]),
                                          Layer::PackBf16(x[2 * k + 1][0], x[2 * k + 1][1]),
                                          Layer::PackBf16(x[2 * k + 1][2], x[2 * k + 1][3])};
      LR_UNROLL
      for (int c = 0; c < kOut; c += 32) {
        if (channel + c < p.width) {
          std::uint32_t b_operand[4][2];
          LR_UNROLL
          for (int n = 0; n < 2; ++n) {
            std::uint32_t pair[2][2];
            Layer::template LoadBTransposed<typename Shape::Layout>(b, 16 * k, channel + c + 16 * n,
                                                                    pair);
            LR_UNROLL
            for (int i = 0; i < 4; ++i) b_operand[2 * n + i / 2][i % 2] = pair[i / 2][i % 2];
          }
          Layer::template Mma<4>(o + c / 8, a_operand, b_operand);
        }
      }
    }
  } else {
    constexpr int kStride = Shape::kStride, kScratchStride = kColumns + 4;
    const int row = Layer::Thread() / 32 * 16;
    const int g = Layer::Thread() % 32 / 4, t = Layer::Thread() % 4;
    LR_UNROLL
    for (int n = 0; n < kColumns / 8; ++n) {
      LR_UNROLL
      for (int e = 0; e < 4; ++e) {
        scratch.Set((row + g + 8 * (e / 2)) * kScratchStride + 8 * n + 2 * t + e % 2, x[n][e]);
      }
    }
    Layer::WarpSync();
    for (int k = 0; k < kColumns; k += 4) {
      float a_rows[2][4];
      scratch.GetFour((row + g) * kScratchStride + k, a_rows[0]);
      scratch.GetFour((row + g + 8) * kScratchStride + k, a_rows[1]);
      LR_UNROLL
      for (int i = 0; i < 4; ++i) {
        LR_UNROLL
        for (int n = 0; n < kOut / 8; ++n) {
          if (channel + 8 * n < p.width) {
            float pair[2];
            b.GetTwo((k + i) * kStride + channel + 8 * n + 2 * t, pair);
            o[n][0] += a_rows[0][i] * pair[0];
            o[n][1] += a_rows[0][i] * pair[1];
            o[n][2] += a_rows[1][i] * pair[0];
            o[n][3] += a_rows[1][i] * pair[1];
          }
        }
      }
    }
    Layer::WarpSync();  // before the next product writes
  }
}

// Writes rows of the warp, times the factor of each half: row + g, and row + g + 8.
template <typename Layer, int kOut, typename Params>
LR_DEVICE void StoreRows(const Params& p, const Rows& to, int b, int h, int row, int n_row,
                         int channel, const float (&factors)[2], const float (&o)[kOut / 8][4]) {
  const int g = Layer::Thread() % 32 / 4, t = Layer::Thread() % 4;
  LR_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int i = row + g + 8 * half;
    if (i < n_row) {
      const std::int64_t at = to.At(b, h, i);
      LR_UNROLL
      for (int n = 0; n < kOut / 8; ++n) {
        const int c = channel + 8 * n + 2 * t;
        if (c < p.head_dim) {
          const float low = o[n][2 * half] * factors[half];
          const float high = o[n][2 * half + 1] * factors[half];
          if (to.scalar == kScalarBf16 && to.is_aligned != 0) {
            Layer::StorePair(static_cast<std::uint16_t*>(to.data) + at + c,
                             Layer::PackBf16(low, high));
          } else {
            WriteNumber(to.scalar, to.data, at + c, low);
            WriteNumber(to.scalar, to.data, at + c + 1, high);
          }
        }
      }
    }
  }
}

}  // namespace gpu
}  // namespace longrun
