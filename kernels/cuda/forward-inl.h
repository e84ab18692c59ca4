// Forward: a block owns kRows queries of one head, and walks the tiles of keys from the nearest to
// the oldest; of a call that is split, those of one range of keys. A warp owns 16 of the queries.
// The softmax is in base 2, with a running maximum.
#pragma once

#include "kernels/cuda/products-inl.h"
#include "kernels/cuda/terms-inl.h"

namespace longrun {
namespace gpu {

// The keys of a tile of queries that lie in each region: [begin, end).
template <typename Layer>
struct RegionKeys {
  static constexpr int kBytes = 2 * 16;
  LR_DEVICE explicit RegionKeys(typename Layer::Arena& arena)
      : begin(arena.template Take<int>(3)), end(arena.template Take<int>(3)) {}

  template <typename Params>
  LR_DEVICE void Find(const Params& p, int i_0) const {
    const int r = Layer::Thread();
    if (r >= p.n_region) return;
    int first = r + 1 == p.n_region ? 0 : p.n_key;
    int last = r == 0 ? p.n_key : 0;
    for (int i = i_0; i < Min(i_0 + kRows, p.n_query); ++i) {
      if (r + 1 < p.n_region) first = Min(first, p.regions[r].key_begin[i]);
      if (r > 0) last = Max(last, p.regions[r - 1].key_begin[i]);
    }
    begin.Set(r, first);
    end.Set(r, last);
  }

  typename Layer::template Shared<int> begin, end;
};

// Whether a pair of existing query and key lies in region r.
template <typename Params>
LR_DEVICE bool LiesIn(const Params& p, int r, const Pair& pair) {
  if (pair.i >= p.n_query) return false;
  return (r == 0 || pair.j < p.regions[r - 1].key_begin[pair.i]) &&
         (r + 1 == p.n_region || pair.j >= p.regions[r].key_begin[pair.i]);
}

template <typename TheLayer, typename TheShape>
struct ForwardKernel {
  using Layer = TheLayer;
  using Shape = TheShape;
  using Params = typename Shape::Params;
  using Math = typename Shape::Math;
  using Element = typename Shape::Element;
  using Tile = typename Layer::template Shared<Element>;
  static constexpr int kColumns = Shape::kColumns;
  static constexpr int kHeadDim = Shape::kHeadDim;
  static constexpr int kNarrowHeadDim = 256;  // the least with NarrowMath

  // With low parts of q and k, their products are as exact as those of fp32 rows.
  static LR_BOTH bool HasLow(const Params& p) {
    return Params::kMayHaveLow && p.q[0].low != nullptr;
  }
  static int SharedBytes(const Params& p) {
    const int parts = HasLow(p) ? 2 : 1;
    return parts * Shape::TileBytes(kRows) + (parts + 1) * Shape::TileBytes(kColumns) +
           TileNumbers<Layer>::kBytes + RegionKeys<Layer>::kBytes + 4 * Shape::kScratch;
  }
  static std::int64_t Blocks(const Params& p) {
    return static_cast<std::int64_t>(p.batch) * p.n_head * BlocksOfHead(p);
  }

  // s += the products of the tile's keys, as region r rotates both sides.
  static LR_DEVICE void AddKeyProducts(const Params& p, const Tile& q, const Tile& q_low,
                                       const Tile& k, const Tile& k_low, int row,
                                       float (&s)[kColumns / 8][4]) {
    AddRowProducts<Layer, Shape, kColumns>(p, q, row, k, s);
    if (HasLow(p)) {
      AddRowProducts<Layer, Shape, kColumns>(p, q_low, row, k, s);
      AddRowProducts<Layer, Shape, kColumns>(p, q, row, k_low, s);
    }
  }

  static LR_DEVICE void Run(const Params& p) {
    const std::int64_t head = Layer::Block() / BlocksOfHead(p);
    const int of_head = BlocksOfHead(p) - 1 - static_cast<int>(Layer::Block() % BlocksOfHead(p));
    const int tile = Params::kIsSplit ? 0 : of_head;
    const int b = static_cast<int>(head / p.n_head), h = static_cast<int>(head % p.n_head);
    const int h_kv = h / p.group, i_0 = tile * kRows;
    const int row = Layer::Thread() / 32 * 16;
    const bool has_low = HasLow(p);

    typename Layer::Arena arena;
    const Tile q = arena.template Take<Element>(kRows * Shape::kStride);
    const Tile q_low = arena.template Take<Element>(has_low ? kRows * Shape::kStride : 0);
    const Tile k = arena.template Take<Element>(kColumns * Shape::kStride);
    const Tile k_low = arena.template Take<Element>(has_low ? kColumns * Shape::kStride : 0);
    const Tile v = arena.template Take<Element>(kColumns * Shape::kStride);
    const TileNumbers<Layer> numbers(arena);
    const RegionKeys<Layer> regions(arena);
    const auto scratch = arena.template Take<float>(Shape::kScratch);
    const auto load_queries = [&](int r) {
      LoadTile<Layer, Shape>(p, p.q[r], p.q[r].data, b, h, i_0, kRows, p.n_query, q);
      if (has_low)
        LoadTile<Layer, Shape>(p, p.q[r], p.q[r].low, b, h, i_0, kRows, p.n_query, q_low);
    };
    const auto load_keys = [&](int r, int j_0) {
      LoadTile<Layer, Shape>(p, p.k[r], p.k[r].data, b, h_kv, j_0, kColumns, p.n_key, k);
      if (has_low) {
        LoadTile<Layer, Shape>(p, p.k[r], p.k[r].low, b, h_kv, j_0, kColumns, p.n_key, k_low);
      }
    };

    const double anchor = AnchorOf(p, b, h, i_0);
    numbers.ReadQueries(p, b, h, i_0, kRows, anchor);
    if (p.n_region > 1) {
      regions.Find(p, i_0);
    } else {
      load_queries(0);
    }

    float o[kHeadDim / 8][4] = {};
    // The largest score less the headroom, of which the probabilities are relative.
    float largest[2] = {kHidden, kHidden}, sums[2] = {0.0F, 0.0F};
    const int first_tile =
        Params::kIsSplit ? FirstKeyTile(of_head) : FirstKey(p, b, h, i_0) / kColumns;
    for (int key_tile = LastKeyTile(p, of_head); key_tile >= first_tile; --key_tile) {
      const int j_0 = key_tile * kColumns;
      const TileView view = ViewOf(p, b, i_0, kRows, j_0, kColumns);
      if (view.is_hidden) continue;
      Layer::Barrier();  // the tile before has been read
      numbers.ReadKeys(p, b, h, j_0, kColumns, anchor);
      LoadTile<Layer, Shape>(p, p.v, p.v.data, b, h_kv, j_0, kColumns, p.n_key, v);
      float s[kColumns / 8][4] = {};
      if (p.n_region == 1) {
        load_keys(0, j_0);
        Layer::Barrier();
        AddKeyProducts(p, q, q_low, k, k_low, row, s);
      } else {
        for (int r = 0; r < p.n_region; ++r) {
          if (regions.begin.Get(r) >= j_0 + kColumns || regions.end.Get(r) <= j_0) continue;
          Layer::Barrier();  // the region before has been read
          load_queries(r);
          load_keys(r, j_0);
          Layer::Barrier();
          float of_region[kColumns / 8][4] = {};
          AddKeyProducts(p, q, q_low, k, k_low, row, of_region);
          ForPairs<Layer, false, kColumns>(i_0, j_0, row, [&](int n, int e, const Pair& pair) {
            if (LiesIn(p, r, pair)) s[n][e] = of_region[n][e];
          });
        }
      }
      AddTerms<Layer, false, kColumns>(p, h, numbers, view.is_whole, i_0, j_0, row, s);

      float tile_largest[2] = {kHidden, kHidden};
      LR_UNROLL
      for (int n = 0; n < kColumns / 8; ++n) {
        LR_UNROLL
        for (int e = 0; e < 4; ++e) {
          // A NaN is not a maximum here; it comes back as a probability.
          tile_largest[e / 2] = s[n][e] > tile_largest[e / 2] ? s[n][e] : tile_largest[e / 2];
        }
      }
      Layer::QuadMax(tile_largest);
      float reference[2], factor[2];
      LR_UNROLL
      for (int half = 0; half < 2; ++half) {
        if constexpr (Math::kHeadroom > 0) tile_largest[half] -= Math::kHeadroom;
        const float grown = tile_largest[half] > largest[half] ? tile_largest[half] : largest[half];
        reference[half] = grown == kHidden ? 0.0F : grown;  // no key was visible yet
        factor[half] = Layer::Exp2(largest[half] - reference[half]);
        largest[half] = grown;
        sums[half] *= factor[half];
      }
      LR_UNROLL
      for (int n = 0; n < kHeadDim / 8; ++n) {
        LR_UNROLL
        for (int e = 0; e < 4; ++e) o[n][e] *= factor[e / 2];
      }
      ForPairs<Layer, false, kColumns>(i_0, j_0, row, [&](int n, int e, const Pair&) {
        const float x = Layer::Exp2(s[n][e] - reference[e / 2]);
        sums[e / 2] += x;
        s[n][e] = x;
      });
      if (p.has_dropout != 0) {
        ForKeptPairs<Layer, false, kColumns>(
            p, b, h, i_0, j_0, row, [&](int n, int e, const Pair&, float z) { s[n][e] *= z; });
      }
      AddProducts<Layer, Shape, kColumns, kHeadDim>(p, s, scratch, v, 0, o);
    }

    Layer::QuadSum(sums);
    if constexpr (Params::kIsSplit) {
      StorePart(p, of_head, b, h, row, largest, sums, o);
    } else {
      float factors[2];
      LR_UNROLL
      for (int half = 0; half < 2; ++half) {
        factors[half] = sums[half] == 0.0F ? 0.0F : 1.0F / sums[half];
        const int i = i_0 + row + Layer::Thread() % 32 / 4 + 8 * half;
        if (i < p.n_query && Layer::Thread() % 4 == 0) {
          const double lse = sums[half] == 0.0F ? static_cast<double>(kHidden)
                                                : LseAnchor(p, anchor) +
                                                      static_cast<double>(largest[half]) * kLn2 +
                                                      Layer::Log(static_cast<double>(sums[half]));
          WriteNumber(p.lse, head * p.n_query + i, lse);
        }
      }
      StoreRows<Layer, Math, kHeadDim>(p, p.o, b, h, i_0 + row, p.n_query, 0, factors, o);
    }
  }

 private:
  // A split call has one tile of queries, and a block for each range of keys.
  static LR_BOTH int BlocksOfHead(const Params& p) {
    if constexpr (Params::kIsSplit) {
      return p.n_split;
    } else {
      return p.n_query_tile;
    }
  }
  // Of the block's keys, in a split call.
  static LR_DEVICE int FirstKeyTile(int of_head) { return of_head * (kSplitKeys / kColumns); }
  static LR_DEVICE int LastKeyTile(const Params& p, int of_head) {
    const int last = (p.n_key + kColumns - 1) / kColumns - 1;
    return Params::kIsSplit ? Min(last, FirstKeyTile(of_head + 1) - 1) : last;
  }

  // The warp's queries are those from `first` on.
  static LR_DEVICE void StorePart(const Params& p, int split, int b, int h, int first,
                                  const float (&largest)[2], const float (&sums)[2],
                                  const float (&o)[kHeadDim / 8][4]) {
    Rows parts;
    parts.data = p.parts + split * p.PartStep();
    parts.row_step = p.n_split * p.PartStep();
    parts.head_step = p.n_query * parts.row_step;
    parts.batch_step = p.n_head * parts.head_step;
    constexpr float kWhole[2] = {1.0F, 1.0F};
    StoreRows<Layer, Math, kHeadDim>(p, parts, b, h, first, p.n_query, 0, kWhole, o);
    LR_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int i = first + Layer::Thread() % 32 / 4 + 8 * half;
      if (i < p.n_query && Layer::Thread() % 4 == 0) {
        float* const numbers = static_cast<float*>(parts.data) + parts.At(b, h, i) + p.head_dim;
        numbers[0] = largest[half];
        numbers[1] = sums[half];
      }
    }
  }
};

}  // namespace gpu
}  // namespace longrun
