// Forward for calls of at most kFewRows queries and many keys, as when a model writes. What bounds
// it is to be the memory that holds the keys (docs/gpu-model.md). The keys are split into ranges of
// kSplitKeys. A block owns one range for the queries of all heads that share a key head, if these
// are at most 16 rows: one fragment. Row r is query r % n_query of head r / n_query of the block's.
//
// The warps divide the keys, not the rows. Each walks every fourth tile of the range, from the
// nearest to the oldest, and copies its own tiles, kStages of them ahead, so no warp waits for
// another before the end. There the block merges what its warps have found, in their order, to
// parts for split-inl.h.
#pragma once

#include <type_traits>

#include "kernels/cuda/pipeline-inl.h"

namespace longrun {
namespace gpu {

// The products of a warp over tiles of bf16 or fp16, by tensor cores. o is in the layout of c
// (device.h).
template <typename TheLayer, typename Shape>
class FewRowsOfTensorCores {
 public:
  using Layer = TheLayer;
  using Math = typename Shape::Math;
  using Tile = typename Layer::template Shared<std::uint16_t>;
  using Numbers = typename Layer::template Shared<float>;
  static constexpr int kHeadDim = Shape::kHeadDim;
  static constexpr bool kHasLow = Shape::Params::kHasLow;
  static constexpr int kColumns = 16;
  static constexpr int kStride = kHeadDim;  // of rows in a tile
  using Layout = SwizzledRows<kHeadDim>;
  static constexpr int kScratch = 0;

  LR_DEVICE FewRowsOfTensorCores(const Tile& q, const Tile& q_low, const Numbers& /*scratch*/,
                                 int /*n_row*/)
      : q_(q), q_low_(q_low) {
    if constexpr (kStays) {
      LR_UNROLL
      for (int step = 0; step < kSteps; ++step) {
        LoadFragments<Layer, kHeadDim, 1>(q_, 0, 16 * step, a_[step]);
      }
    }
  }

  // s = q k^T, of the keys in rows from `row` of a tile.
  template <typename Params>
  LR_DEVICE void Multiply(const Params& p, const Tile& k, const Tile& k_low, int row,
                          float (&s)[kColumns / 8][4]) {
    float of_q[1][kColumns / 8][4] = {};
    LR_UNROLL
    for (int step = 0; step < kSteps; ++step) {
      if (16 * step >= p.width) break;
      std::uint32_t(&a)[1][4] = a_[kStays ? step : 0];
      if constexpr (!kStays) LoadFragments<Layer, kHeadDim, 1>(q_, 0, 16 * step, a);
      AddFragmentProducts<Layer, Math, kHeadDim, 1, kColumns>(a, k, row, 16 * step, of_q);
      if constexpr (kHasLow) {
        AddFragmentProducts<Layer, Math, kHeadDim, 1, kColumns>(a, k_low, row, 16 * step, of_q);
        std::uint32_t low[1][4];
        LoadFragments<Layer, kHeadDim, 1>(q_low_, 0, 16 * step, low);
        AddFragmentProducts<Layer, Math, kHeadDim, 1, kColumns>(low, k, row, 16 * step, of_q);
      }
    }
    LR_UNROLL
    for (int n = 0; n < kColumns / 8; ++n) {
      LR_UNROLL
      for (int e = 0; e < 4; ++e) s[n][e] = of_q[0][n][e];
    }
  }
  // o *= factors, of the thread's rows g and g + 8.
  LR_DEVICE void Rescale(const float (&factors)[2]) {
    LR_UNROLL
    for (int n = 0; n < kHeadDim / 8; ++n) {
      LR_UNROLL
      for (int e = 0; e < 4; ++e) o_[0][n][e] *= factors[e / 2];
    }
  }
  // o += x v.
  LR_DEVICE void AddValues(const float (&x)[kColumns / 8][4], const Tile& v, int row) {
    float of_x[1][kColumns / 8][4];
    LR_UNROLL
    for (int n = 0; n < kColumns / 8; ++n) {
      LR_UNROLL
      for (int e = 0; e < 4; ++e) of_x[0][n][e] = x[n][e];
    }
    AddScoreProducts<Layer, Math, kHeadDim, 1, kColumns>(of_x, v, row, o_);
  }
  // Writes row r of o to r * stride + begin.
  LR_DEVICE void Put(const Numbers& to, int begin, int stride, int n_row) const {
    const int g = Layer::Thread() % 32 / 4, t = Layer::Thread() % 4;
    LR_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int r = g + 8 * half;
      if (r >= n_row) continue;
      LR_UNROLL
      for (int n = 0; n < kHeadDim / 8; ++n) {
        LR_UNROLL
        for (int e = 0; e < 2; ++e) {
          to.Set(begin + r * stride + 8 * n + 2 * t + e, o_[0][n][2 * half + e]);
        }
      }
    }
  }

 private:
  static constexpr int kSteps = kHeadDim / 16;
  // Queries of wider heads would take the registers that let more blocks run on an SM.
  static constexpr bool kStays = kHeadDim <= 64;
  Tile q_, q_low_;
  std::uint32_t a_[kStays ? kSteps : 1][1][4];
  float o_[1][kHeadDim / 8][4] = {};
};

// The products of a warp over fp32 tiles, by FMAs: as many as the call has rows. A number of k or v
// is loaded from shared memory once for all rows. The lanes divide the channels of o.
template <typename TheLayer, typename Shape>
class FewRowsOfFmas {
 public:
  using Layer = TheLayer;
  using Tile = typename Layer::template Shared<float>;
  using Numbers = Tile;
  static constexpr int kHeadDim = Shape::kHeadDim;
  static constexpr int kColumns = kHeadDim <= 64 ? 16 : 8;
  static constexpr int kStride = kHeadDim + 4;
  using Layout = PaddedRows<kStride>;
  // Of a warp: its scores, which the lanes exchange, and the factors of its rows.
  static constexpr int kScoreStride = kColumns + 4;
  static constexpr int kScratch = 16 * kScoreStride + 16;

  LR_DEVICE FewRowsOfFmas(const Tile& q, const Tile& /*q_low*/, const Numbers& scratch, int n_row)
      : q_(q), scratch_(scratch), scores_(Layer::Thread() / 32 * kScratch), n_row_(n_row) {}

  template <typename Params>
  LR_DEVICE void Multiply(const Params& p, const Tile& k, const Tile& /*k_low*/, int row,
                          float (&s)[kColumns / 8][4]) {
    const int g = Layer::Thread() % 32 / 4, t = Layer::Thread() % 4;
    // Eight lanes read at once: of two keys, which are 4 rows or 64 bytes of the banks apart.
    const int key = g % 2 * 4 + g / 2;
    float sums[16][kKeys] = {};  // of every fourth 4 channels
    for (int c = 4 * t; c < p.width; c += 16) {
      float of_k[kKeys][4];
      LR_UNROLL
      for (int m = 0; m < kKeys; ++m) k.GetFour(Layout::At(row + key + 8 * m, c), of_k[m]);
      LR_UNROLL
      for (int r = 0; r < 16; ++r) {
        if (r >= n_row_) break;
        float of_q[4];
        q_.GetFour(Layout::At(r, c), of_q);
        LR_UNROLL
        for (int m = 0; m < kKeys; ++m) {
          LR_UNROLL
          for (int x = 0; x < 4; ++x) sums[r][m] += of_q[x] * of_k[m][x];
        }
      }
    }
    LR_UNROLL
    for (int r = 0; r < 16; r += 3 - kKeys) {
      if (r >= n_row_) break;
      // Of one row and two keys, or of two rows and one key.
      float pair[2] = {sums[r][0], kKeys == 2 ? sums[r][kKeys - 1] : sums[(r + 1) % 16][0]};
      Layer::QuadSum(pair);
      if (t == 0) {
        const int at = scores_ + r * kScoreStride + key;
        scratch_.Set(at, pair[0]);
        scratch_.Set(at + (kKeys == 2 ? 8 : kScoreStride), pair[1]);
      }
    }
    Layer::WarpSync();
    ForOwn([&](int n, int e, int at) { s[n][e] = scratch_.Get(at); });
  }
  LR_DEVICE void Rescale(const float (&factors)[2]) {
    const int g = Layer::Thread() % 32 / 4, first = scores_ + 16 * kScoreStride;
    if (Layer::Thread() % 4 == 0) {
      scratch_.Set(first + g, factors[0]);
      scratch_.Set(first + g + 8, factors[1]);
    }
    Layer::WarpSync();
    LR_UNROLL
    for (int r = 0; r < 16; ++r) {
      if (r >= n_row_) break;
      const float factor = scratch_.Get(first + r);
      LR_UNROLL
      for (int c = 0; c < kChannels; ++c) o_[r][c] *= factor;
    }
  }
  LR_DEVICE void AddValues(const float (&x)[kColumns / 8][4], const Tile& v, int row) {
    ForOwn([&](int n, int e, int at) { scratch_.Set(at, x[n][e]); });
    Layer::WarpSync();
    LR_ROLL
    for (int j = 0; j < kColumns; j += 4) {
      float of_v[4][kChannels];
      LR_UNROLL
      for (int i = 0; i < 4; ++i) LoadChannels(v, row + j + i, of_v[i]);
      LR_UNROLL
      for (int r = 0; r < 16; ++r) {
        if (r >= n_row_) break;
        float of_x[4];
        scratch_.GetFour(scores_ + r * kScoreStride + j, of_x);
        LR_UNROLL
        for (int i = 0; i < 4; ++i) {
          LR_UNROLL
          for (int c = 0; c < kChannels; ++c) o_[r][c] += of_x[i] * of_v[i][c];
        }
      }
    }
  }
  LR_DEVICE void Put(const Numbers& to, int begin, int stride, int n_row) const {
    LR_UNROLL
    for (int r = 0; r < 16; ++r) {
      if (r >= n_row) break;
      LR_UNROLL
      for (int c = 0; c < kChannels; ++c) to.Set(begin + r * stride + Channel(c), o_[r][c]);
    }
  }

 private:
  static constexpr int kKeys = kColumns / 8;       // of a lane
  static constexpr int kChannels = kHeadDim / 32;  // of a lane
  static constexpr int kVector = kChannels < 4 ? kChannels : 4;

  static LR_DEVICE int Channel(int c) {
    return c / kVector * 32 * kVector + Layer::Thread() % 32 * kVector + c % kVector;
  }
  static LR_DEVICE void LoadChannels(const Tile& v, int row, float (&x)[kChannels]) {
    if constexpr (kVector == 2) {
      v.GetTwo(Layout::At(row, Channel(0)), x);
    } else {
      LR_UNROLL
      for (int c = 0; c < kChannels; c += kVector) {
        float four[4];
        v.GetFour(Layout::At(row, Channel(c)), four);
        LR_UNROLL
        for (int i = 0; i < 4; ++i) x[c + i] = four[i];
      }
    }
  }
  // Calls visit(n, e, at) for those of a thread's c whose rows exist.
  template <typename Visit>
  LR_DEVICE void ForOwn(const Visit& visit) const {
    const int g = Layer::Thread() % 32 / 4, t = Layer::Thread() % 4;
    LR_UNROLL
    for (int n = 0; n < kColumns / 8; ++n) {
      LR_UNROLL
      for (int e = 0; e < 4; ++e) {
        const int r = g + 8 * (e / 2);
        if (r < n_row_) visit(n, e, scores_ + r * kScoreStride + 8 * n + 2 * t + e % 2);
      }
    }
  }

  Tile q_;
  Numbers scratch_;
  int scores_, n_row_;
  float o_[16][kChannels] = {};
};

template <typename TheLayer, typename TheShape>
struct FewQueriesKernel {
  using Layer = TheLayer;
  using Shape = TheShape;
  using Params = typename Shape::Params;
  using Element = typename Shape::Element;
  using Tile = typename Layer::template Shared<Element>;
  using Floats = typename Layer::template Shared<float>;
  static constexpr int kHeadDim = Shape::kHeadDim;
  using WarpRows =
      std::conditional_t<Shape::Math::kHasTensorCores, FewRowsOfTensorCores<Layer, Shape>,
                         FewRowsOfFmas<Layer, Shape>>;
  static constexpr int kColumns = WarpRows::kColumns;  // of a warp's tile
  static constexpr bool kHasLow = Params::kHasLow;
  // With three, a rotated call of 256 channels would take more shared memory than there is.
  static constexpr int kStages = kHeadDim <= 128 ? 3 : 2;
  static constexpr int kStagedRows = kWarps * kStages * kColumns;
  static constexpr int kRangeTiles = kSplitKeys / kColumns;
  // Of o while warps are merged: only rows g and g + 4 share banks.
  static constexpr int kMergedStride = kHeadDim + 8;
  static_assert(kWarps * kFewRows * (4 * kMergedStride + 8) <=
                2 * kStagedRows * WarpRows::kStride * static_cast<int>(sizeof(Element)));

  // The heads of a block share a key head.
  static LR_BOTH int HeadsOfBlock(const Params& p) {
    return Max(1, Min(p.group, kFewRows / p.n_query));
  }
  static LR_BOTH int BlocksOfGroup(const Params& p) {
    return (p.group + HeadsOfBlock(p) - 1) / HeadsOfBlock(p);
  }
  // What each tile of a warp has one number of for each head and key.
  static LR_BOTH int KeyNumbers(const Params& p) { return HeadsOfBlock(p) * kColumns; }
  static LR_BOTH int KeyBiases(const Params& p) {
    return p.has_key_bias != 0 ? kWarps * KeyNumbers(p) : 0;
  }
  static LR_BOTH int KeyBegins(const Params& p) {
    return p.document_begin != nullptr ? kWarps * KeyNumbers(p) : 0;
  }
  static int SharedBytes(const Params& p) {
    constexpr int kParts = kHasLow ? 2 : 1;
    constexpr int kElements = WarpRows::kStride * ((kParts + 1) * kStagedRows + kParts * kFewRows);
    return kElements * static_cast<int>(sizeof(Element)) +
           4 * (kWarps * WarpRows::kScratch + 3 * kFewRows + KeyBiases(p) + KeyBegins(p)) +
           8 * kFewRows;
  }
  static std::int64_t Blocks(const Params& p) {
    return static_cast<std::int64_t>(p.batch) * p.n_kv_head * BlocksOfGroup(p) * p.n_split;
  }

  // What the block owns: the heads [h, h + n_head) of sequence b, and a range of keys.
  struct Own {
    int b, h, n_head, h_kv, split, n_row;
  };
  static LR_DEVICE Own OwnOf(const Params& p) {
    const std::int64_t heads = Layer::Block() / p.n_split;
    const int group = static_cast<int>(heads / BlocksOfGroup(p));
    const int of_group = static_cast<int>(heads % BlocksOfGroup(p)) * HeadsOfBlock(p);
    Own own;
    own.split = p.n_split - 1 - static_cast<int>(Layer::Block() % p.n_split);
    own.b = group / p.n_kv_head;
    own.h_kv = group % p.n_kv_head;
    own.h = own.h_kv * p.group + of_group;
    own.n_head = Min(HeadsOfBlock(p), p.group - of_group);
    own.n_row = own.n_head * p.n_query;
    return own;
  }

  // The rows g and g + 8 of a thread. Those that do not exist have the numbers of the last one.
  struct ThreadRows {
    int at[2], i[2], head[2];
  };
  static LR_DEVICE ThreadRows RowsOf(const Params& p, const Own& own) {
    ThreadRows rows;
    LR_UNROLL
    for (int half = 0; half < 2; ++half) {
      rows.at[half] = Min(Layer::Thread() % 32 / 4 + 8 * half, own.n_row - 1);
      rows.head[half] = rows.at[half] / p.n_query;
      rows.i[half] = rows.at[half] % p.n_query;
    }
    return rows;
  }

  static LR_DEVICE void Run(const Params& p) {
    const Own own = OwnOf(p);
    const int warp = Layer::Thread() / 32;

    typename Layer::Arena arena;
    const Tile k = arena.template Take<Element>(kStagedRows * WarpRows::kStride);
    const Tile v = arena.template Take<Element>(kStagedRows * WarpRows::kStride);
    const Tile k_low = arena.template Take<Element>(kHasLow ? kStagedRows * WarpRows::kStride : 0);
    const Tile q = arena.template Take<Element>(kFewRows * WarpRows::kStride);
    const Tile q_low = arena.template Take<Element>(kHasLow ? kFewRows * WarpRows::kStride : 0);
    const Floats scratch = arena.template Take<float>(kWarps * WarpRows::kScratch);
    const TileNumbers<Layer> numbers(arena, kFewRows, KeyBiases(p), KeyBegins(p));
    const auto anchors = arena.template Take<double>(kFewRows);

    CopyQueries(p, own, p.q[0].data, q);
    if constexpr (kHasLow) CopyQueries(p, own, p.q[0].low, q_low);
    Layer::CommitCopies();
    const std::int64_t k_head = p.k[0].At(own.b, own.h_kv, 0), v_head = p.v.At(own.b, own.h_kv, 0);
    const auto copy_keys = [&](int tile, int stage) {
      const int j_0 = tile * kColumns, to = (warp * kStages + stage) * kColumns;
      CopyKeyTile(p, p.k[0], p.k[0].data, k_head, j_0, k, to);
      if constexpr (kHasLow) CopyKeyTile(p, p.k[0], p.k[0].low, k_head, j_0, k_low, to);
      CopyKeyTile(p, p.v, p.v.data, v_head, j_0, v, to);
    };
    const int first_tile = own.split * kRangeTiles;
    const int n_tile = (VisibleKeys(p, 0, p.n_query) + kColumns - 1) / kColumns;
    int tile = VisibleTile(p, own, Min(n_tile, first_tile + kRangeTiles) - 1 - warp, first_tile);
    int next = tile;  // to copy
    LR_ROLL
    for (int stage = 0; stage < kStages; ++stage) {
      if (next >= first_tile) copy_keys(next, stage);
      Layer::CommitCopies();
      next = VisibleTile(p, own, next - kWarps, first_tile);
    }
    if (Layer::Thread() < own.n_row) {
      const int h = Layer::Thread() / p.n_query, i = Layer::Thread() % p.n_query;
      const double anchor = AnchorOf(p, own.b, own.h + h, 0);
      if (i == 0) anchors.Set(h, anchor);
      numbers.ReadQuery(p, own.b, own.h + h, i, Layer::Thread(), anchor);
    }
    Layer::template WaitCopies<kStages>();
    Layer::Barrier();  // the queries and their numbers have arrived

    WarpRows products(q, q_low, scratch, own.n_row);
    const ThreadRows rows = RowsOf(p, own);
    float largest[2] = {kHidden, kHidden}, sums[2] = {0.0F, 0.0F};
    for (int stage = 0; tile >= first_tile; stage = stage + 1 == kStages ? 0 : stage + 1) {
      const int j_0 = tile * kColumns, place = (warp * kStages + stage) * kColumns;
      const int key_numbers = warp * KeyNumbers(p);
      if (KeyBiases(p) + KeyBegins(p) > 0) {
        for (int at = Layer::Thread() % 32; at < own.n_head * kColumns; at += 32) {
          const int h = at / kColumns;
          numbers.ReadKey(p, own.b, own.h + h, j_0 + at % kColumns, key_numbers + at,
                          anchors.Get(h));
        }
      }
      Layer::template WaitCopies<kStages - 1>();
      Layer::WarpSync();  // the tile and its numbers have arrived
      float s[kColumns / 8][4] = {};
      products.Multiply(p, k, k_low, place, s);
      AddRowTerms(p, own, numbers, rows, j_0, key_numbers, s);
      float factors[2];
      if (Softmax(s, largest, sums, factors)) products.Rescale(factors);
      if (p.has_dropout != 0) {
        ForKeys(rows, j_0, key_numbers, [&](int n, int e, const Pair& pair) {
          s[n][e] *= Kept(p, own.b, own.h + rows.head[e / 2], pair);
        });
      }
      products.AddValues(s, v, place);
      Layer::WarpSync();  // the tile and its numbers have been read
      if (next >= first_tile) copy_keys(next, stage);
      Layer::CommitCopies();
      next = VisibleTile(p, own, next - kWarps, first_tile);
      tile = VisibleTile(p, own, tile - kWarps, first_tile);
    }
    Layer::QuadSum(sums);
    MergeWarps(p, own, products, largest, sums);
  }

 private:
  // The warp's nearest tile from `tile` on that is not hidden; if there is none, it is before
  // `first`.
  static LR_DEVICE int VisibleTile(const Params& p, const Own& own, int tile, int first) {
    while (tile >= first && ViewOf(p, own.b, 0, p.n_query, tile * kColumns, kColumns).is_hidden) {
      tile -= kWarps;
    }
    return tile;
  }

  static constexpr int kPiece = 16 / static_cast<int>(sizeof(Element));
  static constexpr int kPieces = kHeadDim / kPiece;  // of a row

  static LR_DEVICE bool IsCopied(const Rows& rows) {
    return rows.scalar == Shape::Math::kScalar && rows.is_aligned != 0;
  }
  // Copies 16 bytes of a tile at once, since they must be converted, or are not aligned.
  static LR_DEVICE void ConvertPiece(const Rows& rows, const void* data, std::int64_t from,
                                     const Tile& tile, int place, bool exists) {
    LR_ROLL
    for (int c = 0; c < kPiece; ++c) {
      const Element x =
          exists ? ReadElement<typename Shape::Math>(rows, data, from + c) : Element{};
      tile.Set(place + c, x);
    }
  }
  // By the block. Rows and channels that do not exist become 0.
  static LR_DEVICE void CopyQueries(const Params& p, const Own& own, const void* data,
                                    const Tile& to) {
    const Rows& rows = p.q[0];
    for (int at = Layer::Thread(); at < kFewRows * kPieces; at += kThreads) {
      const int r = at / kPieces, channel = at % kPieces * kPiece;
      const int place = WarpRows::Layout::At(r, channel);
      const bool exists = r < own.n_row && channel < p.head_dim;
      const std::int64_t from =
          exists ? rows.At(own.b, own.h + r / p.n_query, r % p.n_query) + channel : 0;
      if (IsCopied(rows)) {
        Layer::CopyAsync(static_cast<const Element*>(data) + from, to, place, exists);
      } else {
        ConvertPiece(rows, data, from, to, place, exists);
      }
    }
  }
  // By a warp: keys from j_0, to the tile's rows from `to`. The head's key 0 begins at `head`.
  static LR_DEVICE void CopyKeyTile(const Params& p, const Rows& rows, const void* data,
                                    std::int64_t head, int j_0, const Tile& tile, int to) {
    constexpr int kLanes = kPieces < 32 ? kPieces : 32;  // of a row
    constexpr int kRowsAtOnce = 32 / kLanes;
    const int lane = Layer::Thread() % 32;
    const int first_row = lane / kLanes, first_channel = lane % kLanes * kPiece;
    const auto for_pieces = [&](const auto& copy) {
      std::int64_t from = head + (j_0 + first_row) * rows.row_step + first_channel;
      LR_UNROLL
      for (int r = 0; r < kColumns; r += kRowsAtOnce) {
        LR_UNROLL
        for (int c = 0; c < kHeadDim; c += kLanes * kPiece) {
          const int row = first_row + r, channel = first_channel + c;
          copy(from + c, WarpRows::Layout::At(to + row, channel),
               j_0 + row < p.n_key && channel < p.head_dim);
        }
        from += kRowsAtOnce * rows.row_step;
      }
    };
    if (IsCopied(rows)) {
      for_pieces([&](std::int64_t from, int place, bool exists) {
        Layer::CopyAsync(static_cast<const Element*>(data) + from, tile, place, exists);
      });
    } else {
      for_pieces([&](std::int64_t from, int place, bool exists) {
        ConvertPiece(rows, data, from, tile, place, exists);
      });
    }
  }

  // Calls visit(n, e, pair) for each of a thread's scores.
  template <typename Visit>
  static LR_DEVICE void ForKeys(const ThreadRows& rows, int j_0, int key_numbers,
                                const Visit& visit) {
    LR_UNROLL
    for (int n = 0; n < kColumns / 8; ++n) {
      LR_UNROLL
      for (int e = 0; e < 4; ++e) {
        const int c = 8 * n + Layer::Thread() % 4 * 2 + e % 2;
        Pair pair;
        pair.i = rows.i[e / 2];
        pair.j = j_0 + c;
        pair.at_i = rows.at[e / 2];
        pair.at_j = key_numbers + rows.head[e / 2] * kColumns + c;
        visit(n, e, pair);
      }
    }
  }
  // Products become scores in base 2; hidden ones become kHidden.
  static LR_DEVICE void AddRowTerms(const Params& p, const Own& own,
                                    const TileNumbers<Layer>& numbers, const ThreadRows& rows,
                                    int j_0, int key_numbers, float (&s)[kColumns / 8][4]) {
    const bool is_whole = ViewOf(p, own.b, 0, p.n_query, j_0, kColumns).is_whole;
    const bool has_bias = p.has_key_bias != 0 || p.table != nullptr || p.has_piecewise != 0;
    if (is_whole && !has_bias) {
      ForKeys(rows, j_0, key_numbers, [&](int n, int e, const Pair&) { s[n][e] *= p.scale; });
      return;
    }
    ForKeys(rows, j_0, key_numbers, [&](int n, int e, const Pair& pair) {
      s[n][e] = is_whole || Sees(p, numbers, pair)
                    ? s[n][e] * p.scale + BiasOf(p, own.h + rows.head[e / 2], numbers, pair)
                    : kHidden;
    });
  }

  // Scores become probabilities, but for a factor of each row, which the sums have as well. Returns
  // whether o has to be multiplied by the factors: they are 1 where no maximum has grown, so rows
  // do not depend on each other.
  static LR_DEVICE bool Softmax(float (&s)[kColumns / 8][4], float (&largest)[2], float (&sums)[2],
                                float (&factors)[2]) {
    float tile_largest[2] = {kHidden, kHidden};
    LR_UNROLL
    for (int n = 0; n < kColumns / 8; ++n) {
      LR_UNROLL
      for (int e = 0; e < 4; ++e) {
        // A NaN is not a maximum here; it comes back as a probability.
        tile_largest[e / 2] = Larger(tile_largest[e / 2], s[n][e]);
      }
    }
    Layer::QuadMax(tile_largest);
    float reference[2];
    bool has_grown = false;
    LR_UNROLL
    for (int half = 0; half < 2; ++half) {
      constexpr int kHeadroom = Shape::Math::kHeadroom;
      if constexpr (kHeadroom > 0) tile_largest[half] -= kHeadroom;
      const float grown = Larger(largest[half], tile_largest[half]);
      has_grown = has_grown || grown > largest[half];
      reference[half] = grown == kHidden ? 0.0F : grown;  // no key was visible yet
      factors[half] = grown > largest[half] ? Layer::Exp2(largest[half] - reference[half]) : 1.0F;
      largest[half] = grown;
      sums[half] *= factors[half];
    }
    LR_UNROLL
    for (int n = 0; n < kColumns / 8; ++n) {
      LR_UNROLL
      for (int e = 0; e < 4; ++e) {
        s[n][e] = Layer::Exp2(s[n][e] - reference[e / 2]);
        sums[e / 2] += s[n][e];
      }
    }
    return Layer::WarpAny(has_grown);
  }

  // Writes the part of each row: o before it is divided, the largest score, and the sum.
  static LR_DEVICE void MergeWarps(const Params& p, const Own& own, const WarpRows& products,
                                   const float (&largest)[2], const float (&sums)[2]) {
    const int warp = Layer::Thread() / 32, g = Layer::Thread() % 32 / 4;
    Layer::Barrier();  // all tiles have been read: their place becomes that of the results
    typename Layer::Arena arena;
    const Floats o = arena.template Take<float>(kWarps * kFewRows * kMergedStride);
    const Floats warp_largest = arena.template Take<float>(kWarps * kFewRows);
    const Floats warp_sums = arena.template Take<float>(kWarps * kFewRows);
    products.Put(o, warp * kFewRows * kMergedStride, kMergedStride, own.n_row);
    if (Layer::Thread() % 4 == 0) {
      LR_UNROLL
      for (int half = 0; half < 2; ++half) {
        warp_largest.Set(warp * kFewRows + g + 8 * half, largest[half]);
        warp_sums.Set(warp * kFewRows + g + 8 * half, sums[half]);
      }
    }
    Layer::Barrier();
    const std::int64_t row_step = p.n_split * p.PartStep();
    const std::int64_t first =
        ((static_cast<std::int64_t>(own.b) * p.n_head + own.h) * p.n_query) * row_step +
        own.split * p.PartStep();
    for (int at = Layer::Thread(); at < own.n_row * p.head_dim; at += kThreads) {
      const int r = at / p.head_dim, c = at % p.head_dim;
      float grown = kHidden;
      LR_UNROLL
      for (int w = 0; w < kWarps; ++w) grown = Larger(grown, warp_largest.Get(w * kFewRows + r));
      const float reference = grown == kHidden ? 0.0F : grown;  // no key was visible
      float x = 0.0F, sum = 0.0F;
      LR_UNROLL
      for (int w = 0; w < kWarps; ++w) {
        const int of_warp = w * kFewRows + r;
        const float weight = Layer::Exp2(warp_largest.Get(of_warp) - reference);
        x += weight * o.Get(of_warp * kMergedStride + c);
        sum += weight * warp_sums.Get(of_warp);
      }
      float* const part = p.parts + first + r * row_step;
      part[c] = x;
      if (c == 0) {
        part[p.head_dim] = grown;
        part[p.head_dim + 1] = sum;
      }
    }
  }
};

}  // namespace gpu
}  // namespace longrun
