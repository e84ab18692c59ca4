// What the kernels of bf16 and fp16 calls with few terms share (FewParams in device.h). The next
// tile is copied while a tile is multiplied: tiles have two places in shared memory, and a block
// waits at one barrier for each tile. A warp owns kFragments times 16 rows, and so reads a fragment
// of the other side once for that many products.
#pragma once

#include "kernels/cuda/pieces-inl.h"
#include "kernels/cuda/products-inl.h"
#include "kernels/cuda/two_sided-inl.h"
#include "kernels/cuda/visible-inl.h"

namespace longrun {
namespace gpu {

// What a GPU's cache holds of the rows that the blocks of several heads walk at the same time.
template <typename Layer>
inline constexpr std::int64_t kHeldBytes = 32 << 20;

// What a block does, by its number. Blocks begin in the order of their numbers, and the longest
// ones should begin first, so that at the end no multiprocessor waits for a long one that began
// late. So the heads of all sequences, n_all_head, are divided into parts of about the same size,
// and in each part the longest blocks of all its heads come first. A part has at most so many heads
// that the rows their blocks walk, n_walked pairs for each head, fit into the cache. `head` counts
// the heads of all sequences, and `rank` the n_rank blocks of a head from the longest one.
struct BlockOfHead {
  int head, rank;
};
template <typename Layer, int kHeadDim>
LR_DEVICE BlockOfHead LongestFirst(int n_rank, int n_all_head, std::int64_t n_walked) {
  const std::int64_t head_bytes = 4 * kHeadDim * (n_walked > 0 ? n_walked : 1);
  const std::int64_t n_fit = kHeldBytes<Layer> / head_bytes;
  const int n_held = n_fit < n_all_head ? Max(1, static_cast<int>(n_fit)) : n_all_head;
  const int n_part = (n_all_head + n_held - 1) / n_held;
  const int n_of_part = (n_all_head + n_part - 1) / n_part;
  const int block = static_cast<int>(Layer::Block());
  const int first_head = block / (n_of_part * n_rank) * n_of_part;
  const int at = block % (n_of_part * n_rank), n = Min(n_of_part, n_all_head - first_head);
  return {first_head + at % n, at / n};
}

// What a kernel is made of whose blocks each own rows of one head.
template <typename TheLayer, typename TheShape, int kTheFragments>
struct PipelinedKernel {
  using Layer = TheLayer;
  using Params = typename TheShape::Params;
  using Math = typename TheShape::Math;
  using Tile = typename Layer::template Shared<std::uint16_t>;
  static constexpr int kHeadDim = TheShape::kHeadDim, kFragments = kTheFragments;
  static constexpr int kWarpRows = 16 * kFragments, kBlockRows = kWarps * kWarpRows;
  static constexpr int kSteps = kHeadDim / 16;

  // The blocks of a head of n_row rows.
  static LR_BOTH int Tiles(int n_row) { return (n_row + kBlockRows - 1) / kBlockRows; }

  // The block's rows begin at row `first` of head h of sequence b; `head` counts the heads of all
  // sequences, n_all_head. The warp's begin at `row` of the block's.
  struct OwnRows {
    int head, b, h, first, row;
  };
  // Under a causal mask, the last queries of a head and its first keys have the most to do. The
  // block walks n_walked rows of the other side.
  template <bool kLastFirst>
  static LR_DEVICE OwnRows Own(int n_row, int n_head, int n_all_head, std::int64_t n_walked) {
    const int n_tile = Tiles(n_row);
    const auto [head, rank] = LongestFirst<Layer, kHeadDim>(n_tile, n_all_head, n_walked);
    const int tile = kLastFirst ? n_tile - 1 - rank : rank;
    return {head, head / n_head, head % n_head, tile * kBlockRows,
            Layer::Thread() / 32 * kWarpRows};
  }

  // The warp's first row, own.row, for a loop of code for compute capability 10.0, whose kernels
  // have no register to keep it in.
  static LR_DEVICE int RowAgain(int row) {
    if constexpr (Layer::kIsFrom100) return Layer::Opaque(Layer::Thread()) / 32 * kWarpRows;
    return row;
  }

  // In shared memory, a thread has slots of its own for numbers of its rows that would not fit into
  // registers.
  static constexpr int kRowSlots = 2 * kFragments * kThreads;
  static LR_DEVICE int SlotOf(int m, int half) {
    return (2 * m + half) * kThreads + Layer::Thread();
  }
};

// Begins to copy rows [begin, begin + kTileRows) of a head, of n_row rows, to the tile's rows from
// `to_row`. Rows and channels beyond the end become 0.
template <typename Layer, int kHeadDim, int kTileRows, typename Params>
LR_DEVICE void CopyTile(const Params& p, const Rows& rows, int b, int h, int begin, int n_row,
                        const typename Layer::template Shared<std::uint16_t>& to, int to_row) {
  constexpr int kChunks = kHeadDim / kChunk;
  static_assert(kTileRows * kChunks % kThreads == 0 && kThreads % kChunks == 0);
  const auto* const elements = static_cast<const std::uint16_t*>(rows.data);
  const auto thread = static_cast<unsigned>(Layer::Thread());
  const int first_row = static_cast<int>(thread / kChunks);
  const int channel = static_cast<int>(thread % kChunks) * kChunk;
  LR_UNROLL
  for (int r = 0; r < kTileRows; r += kThreads / kChunks) {
    const int row = r + first_row;
    const bool exists = begin + row < n_row && channel < p.head_dim;
    const std::int64_t from =
        exists ? rows.At(b, h, begin + row) + static_cast<unsigned>(channel) : 0;
    Layer::CopyAsync(elements + from, to, SwizzledRows<kHeadDim>::At(to_row + row, channel),
                     exists);
  }
}

// The low parts, as rows of their own.
LR_DEVICE Rows LowOf(Rows rows) {
  rows.data = rows.low;
  return rows;
}

// Begins to copy a tile of keys and of values to its place, and of the keys' low parts if the call
// has any.
template <typename Layer, int kHeadDim, int kTileRows, typename Params>
LR_DEVICE void CopyKeys(const Params& p, int b, int h_kv, int tile,
                        const typename Layer::template Shared<std::uint16_t>& k,
                        const typename Layer::template Shared<std::uint16_t>& k_low,
                        const typename Layer::template Shared<std::uint16_t>& v) {
  const int j_0 = tile * kTileRows, to = (tile & 1) * kTileRows;
  CopyTile<Layer, kHeadDim, kTileRows>(p, p.k[0], b, h_kv, j_0, p.n_key, k, to);
  if constexpr (Params::kHasLow) {
    CopyTile<Layer, kHeadDim, kTileRows>(p, LowOf(p.k[0]), b, h_kv, j_0, p.n_key, k_low, to);
  }
  CopyTile<Layer, kHeadDim, kTileRows>(p, p.v, b, h_kv, j_0, p.n_key, v, to);
  Layer::CommitCopies();
}

// Loads the operands of 16 channels of a warp's rows.
template <typename Layer, int kHeadDim, int kFragments, typename Layout = SwizzledRows<kHeadDim>>
LR_DEVICE void LoadFragments(const typename Layer::template Shared<std::uint16_t>& tile, int row,
                             int k, std::uint32_t (&a)[kFragments][4]) {
  LR_UNROLL
  for (int m = 0; m < kFragments; ++m) {
    Layer::template LoadA<Layout>(tile, row + 16 * m, k, a[m]);
  }
}

// s += a b^T for 16 channels from k: a is in registers, and b in rows from `row` of a tile.
template <typename Layer, typename Math, int kHeadDim, int kFragments, int kColumns,
          typename Layout = SwizzledRows<kHeadDim>>
LR_DEVICE void AddFragmentProducts(const std::uint32_t (&a)[kFragments][4],
                                   const typename Layer::template Shared<std::uint16_t>& b, int row,
                                   int k, float (&s)[kFragments][kColumns / 8][4]) {
  std::uint32_t operand[kColumns / 8][2];
  LoadOperands<Layer, Layout, kColumns>(b, row, k, operand);
  LR_UNROLL
  for (int m = 0; m < kFragments; ++m) {
    Layer::template Mma<Math::kScalar, kColumns / 8>(s[m], a[m], operand);
  }
}

// o += x b. x is rounded to the type of b, which is the rows of a tile from `row`, one for each
// column of x.
template <typename Layer, typename Math, int kHeadDim, int kFragments, int kColumns,
          typename Layout = SwizzledRows<kHeadDim>>
LR_DEVICE void AddScoreProducts(const float (&x)[kFragments][kColumns / 8][4],
                                const typename Layer::template Shared<std::uint16_t>& b, int row,
                                float (&o)[kFragments][kHeadDim / 8][4]) {
  LR_UNROLL
  for (int k = 0; k < kColumns / 16; ++k) {
    std::uint32_t a[kFragments][4];
    LR_UNROLL
    for (int m = 0; m < kFragments; ++m) {
      LR_UNROLL
      for (int i = 0; i < 4; ++i) {
        const float(&of)[4] = x[m][2 * k + i / 2];
        a[m][i] = Math::template Pack<Layer>(of[i % 2 * 2], of[i % 2 * 2 + 1]);
      }
    }
    LR_UNROLL
    for (int c = 0; c < kHeadDim; c += 32) {
      std::uint32_t operand[4][2];
      LoadOperandsTransposed<Layer, Layout, 32>(b, row + 16 * k, c, operand);
      LR_UNROLL
      for (int m = 0; m < kFragments; ++m) {
        Layer::template Mma<Math::kScalar, 4>(o[m] + c / 8, a[m], operand);
      }
    }
  }
}

// The factor of what TileBias leaves: products become scores in the FMA of an exponent.
template <typename Params>
LR_DEVICE float ScaleOf(const Params& p) {
  return Params::kHasTable || Params::kHasKeyBias || Params::kHasPieces ? 1.0F : p.scale;
}

// The biases of a tile of queries and keys, in two places like the tiles. A thread reads numbers of
// the next tile, and puts them into their place; it may compute in between.
// A one-sided key bias is a number of each key. If keys are rows, no tile changes these numbers:
// they are not part of Add(), but of OfRow(), for the exponents. A two-sided bias takes a number of
// the row and one of the column.
template <typename Layer, typename Params, bool kKeysAreRows, int kQueries, int kKeys>
class TileBias {
 public:
  static constexpr bool kHasKeyBias = Params::kHasKeyBias && (!kKeysAreRows || Params::kIsTwoSided);
  static constexpr bool kHasDistances = Params::kHasTable || Params::kHasPieces;
  static constexpr int kRowNumbers = kKeysAreRows ? kKeys : kQueries;
  static constexpr int kColumnNumbers = kKeysAreRows ? kQueries : kKeys;
  static constexpr int kNumbers = kHasDistances ? kQueries + kKeys
                                  : kHasKeyBias ? kColumnNumbers
                                                : 0;
  static constexpr bool kHasRows = Params::kIsTwoSided || (kKeysAreRows && Params::kHasKeyBias);
  // Each thread has slots of its own for its rows, which would not fit into registers.
  static constexpr int kOwnRows = kHasRows ? kRowNumbers / (8 * kWarps) : 0;
  static constexpr int kBytes = 4 * (2 * kNumbers + kOwnRows * kThreads);
  LR_DEVICE explicit TileBias(typename Layer::Arena& arena)
      : numbers_(arena.template Take<float>(2 * kNumbers)),
        of_rows_(arena.template Take<float>(kOwnRows * kThreads)) {}

  // Of queries from i_0 and keys from j_0.
  LR_DEVICE void Read(const Params& p, int b, int h, int i_0, int j_0, double anchor) {
    if constexpr (kHasDistances) {
      const int nearest = p.distance + i_0 - j_0 - (kKeys - 1);
      LR_UNROLL
      for (int n = 0; n < kEach; ++n) {
        const int distance = nearest + Layer::Thread() + n * kThreads;
        if constexpr (Params::kHasTable) {
          const int entry = Max(0, Min(distance + p.n_ahead, p.n_distance - 1));
          next_[n] = p.table[static_cast<std::int64_t>(h) * p.n_distance + entry];
        } else {
          next_[n] = p.psi[Min(distance < 0 ? -distance : distance, p.n_psi - 1)];
        }
      }
    } else if constexpr (kHasKeyBias) {
      if (Layer::Thread() < kColumnNumbers) {
        const int j = kKeysAreRows ? KeyAt(p, i_0 + Layer::Thread()) : j_0 + Layer::Thread();
        next_[0] = AnchoredNumber(p, b, Layer::Opaque(h), j, anchor);
      }
    }
  }
  LR_DEVICE void Put(int place) const {
    LR_UNROLL
    for (int n = 0; n < kEach; ++n) {
      const int at = Layer::Thread() + n * kThreads;
      if (at < kNumbers) numbers_.Set(place * kNumbers + at, next_[n]);
    }
  }
  // Puts the numbers of the thread's rows, the first of which is `first`.
  LR_DEVICE void PutRows(const Params& p, int b, int h, int first, double anchor) const {
    LR_ROLL
    for (int n = 0; n < kOwnRows; ++n) {
      const int j = kKeysAreRows ? first + 8 * n : KeyAt(p, first + 8 * n);
      of_rows_.Set(n * kThreads + Layer::Thread(), AnchoredNumber(p, b, h, j, anchor));
    }
  }
  // The number of row n of `thread`, which is Thread().
  LR_DEVICE float OfRow(int n, int thread) const { return of_rows_.Get(n * kThreads + thread); }
  // Products become scores in base 2, if there is a bias. The warp's rows begin at `row` of the
  // tile, and its columns at `column`. `factors` are read if the call has pieces.
  template <int kFragments, int kColumns>
  LR_DEVICE void Add(const Params& p, int h, int place, int row, int column,
                     const RowFactors<kKeysAreRows, kFragments, kColumns>& factors,
                     float (&s)[kFragments][kColumns / 8][4]) const {
    // Without a bias, too, this keeps the compiler from beginning what follows before the products
    // have ended, for which there are no registers.
    const int thread = Layer::Opaque(Layer::Thread());
    if constexpr (Params::kHasTable) {
      ForDistances<kFragments, kColumns>(
          thread, place, row, column,
          [&](int m, int n, int e, float bias) { s[m][n][e] = s[m][n][e] * p.scale + bias; });
    } else if constexpr (Params::kHasPieces) {
      const SegmentRange range =
          SegmentsOf<kFragments, kColumns>(p, thread, place, row, column, factors);
      AddSegments<kFragments, kColumns>(p, h, range, thread, place, row, column, factors, s);
    } else if constexpr (kHasKeyBias) {
      const int t = thread % 4;
      LR_UNROLL
      for (int n = 0; n < kColumns / 8; ++n) {
        float bias[2];
        numbers_.GetTwo(place * kNumbers + column + 8 * n + 2 * t, bias);
        LR_UNROLL
        for (int m = 0; m < kFragments; ++m) {
          LR_UNROLL
          for (int e = 0; e < 4; ++e) s[m][n][e] = s[m][n][e] * p.scale + bias[e % 2];
        }
      }
    }
  }
  // The same for a two-sided bias.
  template <int kFragments, int kColumns>
  LR_DEVICE void AddTwoSided(const Params& p, int place, int column,
                             const Sides<Layer, kKeysAreRows, kFragments, kColumns>& sides,
                             float (&s)[kFragments][kColumns / 8][4]) const {
    static_assert(kOwnRows == 2 * kFragments);
    const int thread = Layer::Opaque(Layer::Thread()), side = sides.Side();
    // Of the row's number less the column's.
    const float sign = (kKeysAreRows ? -1.0F : 1.0F) * (side < 0 ? -1.0F : 1.0F);
    float of_row[kOwnRows];
    LR_UNROLL
    for (int n = 0; n < kOwnRows; ++n) of_row[n] = sign * OfRow(n, thread);
    const auto add = [&](const auto& is_ahead) {
      LR_UNROLL
      for (int n = 0; n < kColumns / 8; ++n) {
        float of_column[2];
        numbers_.GetTwo(place * kNumbers + column + 8 * n + 2 * (thread % 4), of_column);
        LR_UNROLL
        for (float& number : of_column) number *= sign;
        LR_UNROLL
        for (int m = 0; m < kFragments; ++m) {
          LR_UNROLL
          for (int e = 0; e < 4; ++e) {
            const float bias = of_row[2 * m + e / 2] - of_column[e % 2];
            s[m][n][e] = s[m][n][e] * p.scale + (is_ahead(m, n, e) ? -bias : bias);
          }
        }
      }
    };
    if (side != 0) {
      add([](int, int, int) { return false; });
    } else {
      add([&](int m, int n, int e) { return sides.IsAhead(m, n, e); });
    }
  }
  // Calls visit(m, n, e, number) for each of a thread's scores, with the number of its distance.
  // `thread` is Thread().
  template <int kFragments, int kColumns, typename Visit>
  LR_DEVICE void ForDistances(int thread, int place, int row, int column,
                              const Visit& visit) const {
    ForDiagonals<kFragments, kColumns>(thread, place, row, column,
                                       [&](int diagonal, const float(&numbers)[2]) {
                                         LR_UNROLL
                                         for (int half = 0; half < 2 * kFragments; ++half) {
                                           const int n = half - diagonal;
                                           if (n < 0 || n >= kColumns / 8) continue;
                                           LR_UNROLL
                                           for (int e = 0; e < 2; ++e)
                                             visit(half / 2, n, half % 2 * 2 + e, numbers[e]);
                                         }
                                       });
  }
  // The segments of a piecewise linear function that some of a warp's pairs lie in. All lanes of a
  // warp call it together.
  template <int kFragments, int kColumns>
  LR_DEVICE SegmentRange
  SegmentsOf(const Params& p, int thread, int place, int row, int column,
             const RowFactors<kKeysAreRows, kFragments, kColumns>& factors) const {
    Interval of_psi, of_factors;
    ForDiagonals<kFragments, kColumns>(thread, place, row, column, [&](int, const float(&psi)[2]) {
      of_psi.Add(psi[0]);
      of_psi.Add(psi[1]);
    });
    for (const float(&two)[2] : factors.of) {
      of_factors.Add(two[0]);
      of_factors.Add(two[1]);
    }
    return SegmentRange::Of<Layer>(p, of_psi.template OfWarp<Layer>(),
                                   of_factors.template OfWarp<Layer>());
  }
  // Add() for a call with pieces whose segments are known.
  template <int kFragments, int kColumns>
  LR_DEVICE void AddSegments(const Params& p, int h, const SegmentRange& range, int thread,
                             int place, int row, int column,
                             const RowFactors<kKeysAreRows, kFragments, kColumns>& factors,
                             float (&s)[kFragments][kColumns / 8][4]) const {
    ForSegments(p, h, range, [&](const Segment& segment) {
      ForDistances<kFragments, kColumns>(thread, place, row, column,
                                         [&](int m, int n, int e, float psi) {
                                           const float u = psi * factors.Get(m, n, e);
                                           if (segment.Has(u))
                                             s[m][n][e] = s[m][n][e] * p.scale + segment.Bias(u);
                                         });
    });
  }
  // Calls visit(segment) for each of them, as head h has them.
  template <typename Visit>
  static LR_DEVICE void ForSegments(const Params& p, int h, const SegmentRange& range,
                                    const Visit& visit) {
    LR_ROLL
    for (int number = range.first; number <= range.last; ++number) {
      visit(Segment::Of(p, h, number));
    }
  }

 private:
  static constexpr int kEach = (kNumbers + kThreads - 1) / kThreads;

  // Calls visit(diagonal, numbers) for each diagonal of a thread's pairs of fragments, all of which
  // have the same two numbers: those of even columns and of odd ones.
  template <int kFragments, int kColumns, typename Visit>
  LR_DEVICE void ForDiagonals(int thread, int place, int row, int column,
                              const Visit& visit) const {
    const int g = thread % 32 / 4, t = thread % 4;
    constexpr int kSign = kKeysAreRows ? -1 : 1;
    const int first = place * kNumbers + kKeys - 1 + kSign * (row + g - column - 2 * t);
    LR_UNROLL
    for (int diagonal = 1 - kColumns / 8; diagonal < 2 * kFragments; ++diagonal) {
      const float numbers[2] = {numbers_.Get(first + kSign * 8 * diagonal),
                                numbers_.Get(first + kSign * (8 * diagonal - 1))};
      visit(diagonal, numbers);
    }
  }

  typename Layer::template Shared<float> numbers_, of_rows_;
  float next_[kEach > 0 ? kEach : 1] = {};
};

}  // namespace gpu
}  // namespace longrun
