// Tiles of rows in shared memory, and the two products of attention over them. A warp owns 16 rows
// of the results, in the layout of c (device.h), for inputs of each type:
//
//   AddRowProducts   s += a b^T   a: rows of a tile; b: rows of a tile, which are columns of s
//   AddProducts      o += p b     p: scores in the layout of c; b: a tile, one row for each column
//                                 of p
//
// bf16 and fp16 are multiplied by tensor cores with sums in fp32, and p is rounded to their type.
// fp32 is multiplied by plain FMAs.
#pragma once

#include "kernels/cuda/device.h"

namespace longrun {
namespace gpu {

// Of a type of two bytes.
template <int kTheScalar>
struct TensorCoreMath {
  using Element = std::uint16_t;
  static constexpr int kScalar = kTheScalar;
  static constexpr bool kHasTensorCores = true;
  static constexpr int kPad = 8;  // elements between rows: 8 rows then lie in different banks
  // Forward multiplies probabilities by 2^kHeadroom before it rounds them. In fp16, probabilities
  // below 2^-25 become 0, and many keys that each weigh so little can matter together. Pipelined
  // kernels have probabilities of up to 2^8, and with a headroom of 8 these would be infinite.
  static constexpr int kHeadroom = kScalar == kScalarFp16 ? 7 : 0;
  static constexpr bool kIsNarrow = false;
  static LR_DEVICE Element FromFloat(float x) { return ToTwoBytes(kScalar, x); }
  template <typename Layer>
  static LR_DEVICE std::uint32_t Pack(float low, float high) {
    return PackTwo<Layer>(kScalar, low, high);
  }
  static constexpr int Columns(int head_dim) { return head_dim > 128 ? 32 : 64; }
  static constexpr int ScratchFloats(int /*columns*/) { return 0; }
};
using Bf16Math = TensorCoreMath<kScalarBf16>;
using Fp16Math = TensorCoreMath<kScalarFp16>;

struct Fp32Math {
  using Element = float;
  static constexpr int kScalar = kScalarFp32;
  static constexpr bool kHasTensorCores = false;
  static constexpr int kHeadroom = 0;
  static constexpr bool kIsNarrow = false;
  static constexpr int kPad = 4;
  static LR_DEVICE Element FromFloat(float x) { return x; }
  static constexpr int Columns(int head_dim) { return head_dim > 64 ? 32 : 64; }
  // Where each warp keeps the p that its lanes share.
  static constexpr int ScratchFloats(int columns) { return kRows * (columns + 4); }
};

// With narrow tiles, blocks need at most 99 KiB of shared memory, which every GPU from compute
// capability 8.0 has.
template <typename Math>
struct NarrowMath : Math {
  static constexpr bool kIsNarrow = true;
  static constexpr int Columns(int /*head_dim*/) { return Math::kHasTensorCores ? 16 : 8; }
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
  // Whether two tiles of columns, or of rows, of a kernel of backward lie in the same shared
  // memory, one after the other.
  static constexpr bool kSharesColumns = Math::kIsNarrow && kHeadDim > 128;
  static constexpr bool kSharesRows = kSharesColumns && !Math::kHasTensorCores;
  static constexpr int TileBytes(int n_row) {
    return n_row * kStride * static_cast<int>(sizeof(Element));
  }
};

// Element `at` of rows, in the type of the kernel. For tensor cores, rows have that type or fp32.
template <typename Math>
LR_DEVICE typename Math::Element ReadElement(const Rows& rows, const void* data, std::int64_t at) {
  if constexpr (Math::kHasTensorCores) {
    if (rows.scalar == Math::kScalar) return static_cast<const typename Math::Element*>(data)[at];
    return Math::FromFloat(static_cast<const float*>(data)[at]);
  } else {
    return ReadNumber(rows.scalar, data, at);
  }
}

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
        x[c] = ReadElement<typename Shape::Math>(rows, data, from + c);
      }
    }
    to.SetEight(r * Shape::kStride + channel, x);
  }
}

// Loads the operands of columns n to n + kColumns of c. They are rows from n of a tile, and its
// columns from k.
template <typename Layer, typename Layout, int kColumns>
LR_DEVICE void LoadOperands(const typename Layer::template Shared<std::uint16_t>& b, int n, int k,
                            std::uint32_t (&operand)[kColumns / 8][2]) {
  LR_UNROLL
  for (int at = 0; at < kColumns; at += 16) {
    std::uint32_t pair[2][2];
    Layer::template LoadB<Layout>(b, n + at, k, pair);
    LR_UNROLL
    for (int i = 0; i < 4; ++i) operand[at / 8 + i / 2][i % 2] = pair[i / 2][i % 2];
  }
}
// The same with operands that are rows from k of a tile, and its columns from n.
template <typename Layer, typename Layout, int kColumns>
LR_DEVICE void LoadOperandsTransposed(const typename Layer::template Shared<std::uint16_t>& b,
                                      int k, int n, std::uint32_t (&operand)[kColumns / 8][2]) {
  LR_UNROLL
  for (int at = 0; at < kColumns; at += 16) {
    std::uint32_t pair[2][2];
    Layer::template LoadBTransposed<Layout>(b, k, n + at, pair);
    LR_UNROLL
    for (int i = 0; i < 4; ++i) operand[at / 8 + i / 2][i % 2] = pair[i / 2][i % 2];
  }
}

// s += a b^T. The warp's rows of a begin at `row`.
template <typename Layer, typename Shape, int kColumns, typename Params>
LR_DEVICE void AddRowProducts(const Params& p,
                              typename Layer::template Shared<typename Shape::Element> a, int row,
                              typename Layer::template Shared<typename Shape::Element> b,
                              float (&s)[kColumns / 8][4]) {
  if constexpr (Shape::Math::kHasTensorCores) {
    LR_UNROLL
    for (int k = 0; k < Shape::kHeadDim; k += 16) {
      if (k < p.width) {
        std::uint32_t a_operand[4];
        Layer::template LoadA<typename Shape::Layout>(a, row, k, a_operand);
        std::uint32_t b_operand[kColumns / 8][2];
        LoadOperands<Layer, typename Shape::Layout, kColumns>(b, 0, k, b_operand);
        Layer::template Mma<Shape::Math::kScalar, kColumns / 8>(s, a_operand, b_operand);
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
  if constexpr (Shape::Math::kHasTensorCores) {
    LR_UNROLL
    for (int k = 0; k < kColumns / 16; ++k) {
      std::uint32_t a_operand[4];
      LR_UNROLL
      for (int i = 0; i < 4; ++i) {
        const float(&of)[4] = x[2 * k + i / 2];
        a_operand[i] = Shape::Math::template Pack<Layer>(of[i % 2 * 2], of[i % 2 * 2 + 1]);
      }
      LR_UNROLL
      for (int c = 0; c < kOut; c += 32) {
        if (channel + c < p.width) {
          std::uint32_t b_operand[4][2];
          LoadOperandsTransposed<Layer, typename Shape::Layout, 32>(b, 16 * k, channel + c,
                                                                    b_operand);
          Layer::template Mma<Shape::Math::kScalar, 4>(o + c / 8, a_operand, b_operand);
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

// Writes two numbers that are neighbours. For tensor cores, rows have the kernel's type or fp32.
template <typename Layer, typename Math>
LR_DEVICE void WritePair(const Rows& to, std::int64_t at, float low, float high) {
  if constexpr (Math::kHasTensorCores) {
    if (to.scalar == Math::kScalar) {
      auto* const elements = static_cast<typename Math::Element*>(to.data) + at;
      if (to.is_aligned != 0) {
        Layer::StorePair(elements, Math::template Pack<Layer>(low, high));
      } else {
        elements[0] = Math::FromFloat(low);
        elements[1] = Math::FromFloat(high);
      }
      return;
    }
    static_cast<float*>(to.data)[at] = low;
    static_cast<float*>(to.data)[at + 1] = high;
  } else {
    WriteNumber(to.scalar, to.data, at, low);
    WriteNumber(to.scalar, to.data, at + 1, high);
  }
}

// Writes rows of the warp, times the factor of each half: row + g, and row + g + 8.
template <typename Layer, typename Math, int kOut, typename Params>
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
          WritePair<Layer, Math>(to, at + c, low, high);
        }
      }
    }
  }
}

}  // namespace gpu
}  // namespace longrun
