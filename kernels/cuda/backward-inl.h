// Backward, with scores computed again. Every sum has one owner that adds in a fixed order, so no
// result depends on the order in which blocks run:
//
//   QueryKernel     a block owns kRows queries of one head: dq~, and sums over keys
//   KeyKernel       a block owns kRows keys of one key head, whose query heads it visits in order:
//                   dk~, dv, and sums over queries. Its scores are transposed: rows are keys
//   DistanceKernel  a block owns the distances of one diagonal of tiles of one head: sums over the
//                   pairs at each distance
//
// dq~ and dk~ are turned back by TurnKernel (rows-inl.h) if there is a rotation.
#pragma once

#include "kernels/cuda/products-inl.h"
#include "kernels/cuda/terms-inl.h"

namespace longrun {
namespace gpu {

// p and ds of the pairs of a tile, from scores and from <do_i, v_j>:
//
//   p = exp2(s - lse),  z p for dv,  ds = p (z <do_i, v_j> - delta_i)
//
// `s` becomes z p, and `d` becomes ds. Both are 0 for hidden pairs.
template <typename Layer, bool kKeysAreRows, int kColumns, typename Params>
LR_DEVICE void SoftmaxBackward(const Params& p, int b, int h, const TileNumbers<Layer>& numbers,
                               int i_0, int j_0, int row, float (&s)[kColumns / 8][4],
                               float (&d)[kColumns / 8][4]) {
  const auto visit = [&](int n, int e, const Pair& pair, float z) {
    const bool is_hidden = s[n][e] == kHidden;
    const float x = Layer::Exp2(s[n][e] - numbers.lse.Get(pair.at_i));
    const float ds = x * (z * d[n][e] - numbers.delta.Get(pair.at_i));
    s[n][e] = is_hidden ? 0.0F : x * z;
    d[n][e] = is_hidden ? 0.0F : ds;
  };
  if (p.has_dropout == 0) {
    ForPairs<Layer, kKeysAreRows, kColumns>(
        i_0, j_0, row, [&](int n, int e, const Pair& pair) { visit(n, e, pair, 1.0F); });
  } else {
    ForKeptPairs<Layer, kKeysAreRows, kColumns>(p, b, h, i_0, j_0, row, visit);
  }
}

// The argument of the piecewise linear function for a pair that is visible, and its segment.
struct Piece {
  float u = 0.0F;
  int segment = 0;
};
template <typename Layer, typename Params>
LR_DEVICE Piece PieceOf(const Params& p, const TileNumbers<Layer>& numbers, const Pair& pair) {
  const int distance = p.distance + pair.i - pair.j;
  Piece piece;
  piece.u = p.psi[distance < 0 ? -distance : distance] * numbers.factor.Get(pair.at_i);
  piece.segment = SegmentOf(p, piece.u);
  return piece;
}

// The least head_dim that a kernel of backward has with NarrowMath.
template <typename Shape>
inline constexpr int kNarrowHeadDimOf = Shape::Math::kHasTensorCores ? 256 : 128;

// The tiles of a kernel whose rows are queries.
template <typename Layer, typename Shape>
struct QueryTiles {
  using Element = typename Shape::Element;
  using Tile = typename Layer::template Shared<Element>;
  static constexpr int kColumns = Shape::kColumns;
  static constexpr int kBytes = (Shape::kSharesRows ? 1 : 2) * Shape::TileBytes(kRows) +
                                (Shape::kSharesColumns ? 1 : 2) * Shape::TileBytes(kColumns);

  LR_DEVICE explicit QueryTiles(typename Layer::Arena& arena)
      : q(arena.template Take<Element>(kRows * Shape::kStride)),
        o_gradient(Shape::kSharesRows ? q : arena.template Take<Element>(kRows * Shape::kStride)),
        k(arena.template Take<Element>(kColumns * Shape::kStride)),
        v(Shape::kSharesColumns ? k : arena.template Take<Element>(kColumns * Shape::kStride)) {}

  template <typename Params>
  LR_DEVICE void LoadQueries(const Params& p, int b, int h, int i_0) const {
    if constexpr (!Shape::kSharesRows) {
      Load(p, p.q[0], b, h, i_0, kRows, p.n_query, q);
      Load(p, p.o_gradient, b, h, i_0, kRows, p.n_query, o_gradient);
    }
  }
  // Loads keys, and adds <q_i, k_j> to s and <do_i, v_j> to d. The tile of k stays.
  template <typename Params>
  LR_DEVICE void AddProducts(const Params& p, int b, int h, int i_0, int j_0, int row,
                             float (&s)[kColumns / 8][4], float (&d)[kColumns / 8][4]) const {
    const int h_kv = h / p.group;
    if constexpr (Shape::kSharesColumns) {
      if constexpr (Shape::kSharesRows) {
        Load(p, p.o_gradient, b, h, i_0, kRows, p.n_query, o_gradient);
      }
      Load(p, p.v, b, h_kv, j_0, kColumns, p.n_key, v);
      Layer::Barrier();
      AddRowProducts<Layer, Shape, kColumns>(p, o_gradient, row, v, d);
      Layer::Barrier();  // v has been read
      if constexpr (Shape::kSharesRows) Load(p, p.q[0], b, h, i_0, kRows, p.n_query, q);
      Load(p, p.k[0], b, h_kv, j_0, kColumns, p.n_key, k);
      Layer::Barrier();
      AddRowProducts<Layer, Shape, kColumns>(p, q, row, k, s);
    } else {
      Load(p, p.k[0], b, h_kv, j_0, kColumns, p.n_key, k);
      Load(p, p.v, b, h_kv, j_0, kColumns, p.n_key, v);
      Layer::Barrier();
      AddRowProducts<Layer, Shape, kColumns>(p, q, row, k, s);
      AddRowProducts<Layer, Shape, kColumns>(p, o_gradient, row, v, d);
    }
  }

  Tile q, o_gradient, k, v;

 private:
  template <typename Params>
  static LR_DEVICE void Load(const Params& p, const Rows& rows, int b, int h, int begin,
                             int n_tile_row, int n_row, const Tile& to) {
    LoadTile<Layer, Shape>(p, rows, rows.data, b, h, begin, n_tile_row, n_row, to);
  }
};

template <typename TheLayer, typename TheShape>
struct QueryKernel {
  using Layer = TheLayer;
  using Shape = TheShape;
  using Params = typename Shape::Params;
  using Element = typename Shape::Element;
  using Tile = typename Layer::template Shared<Element>;
  static constexpr int kColumns = Shape::kColumns;
  static constexpr int kNarrowHeadDim = kNarrowHeadDimOf<Shape>;
  static constexpr int kHeadDim = Shape::kHeadDim;

  static int SegmentDoubles(const Params& p) {
    return p.segment_sums == nullptr ? 0 : kWarps * (p.n_knot + 1) * 2;
  }
  static int SharedBytes(const Params& p) {
    return QueryTiles<Layer, Shape>::kBytes + TileNumbers<Layer>::kBytes + 4 * Shape::kScratch +
           8 * SegmentDoubles(p);
  }
  static std::int64_t Blocks(const Params& p) {
    return static_cast<std::int64_t>(p.batch) * p.n_head * p.n_query_tile;
  }

  // Adds ds u and ds of each segment to the warp's sums. A tile has few segments.
  static LR_DEVICE void AddSegments(const Params& p, const TileNumbers<Layer>& numbers, int i_0,
                                    int j_0, int row, const float (&ds)[kColumns / 8][4],
                                    const typename Layer::template Shared<double>& sums) {
    int first = p.n_knot, last = 0;
    ForPairs<Layer, false, kColumns>(i_0, j_0, row, [&](int n, int e, const Pair& pair) {
      if (ds[n][e] == 0.0F) return;
      const int segment = PieceOf(p, numbers, pair).segment;
      first = Min(first, segment);
      last = Max(last, segment);
    });
    first = Layer::WarpMin(first);
    last = Layer::WarpMax(last);
    const int warp = Layer::Thread() / 32;
    for (int segment = first; segment <= last; ++segment) {
      float of_u = 0.0F, of_one = 0.0F;
      ForPairs<Layer, false, kColumns>(i_0, j_0, row, [&](int n, int e, const Pair& pair) {
        if (ds[n][e] == 0.0F) return;
        const Piece piece = PieceOf(p, numbers, pair);
        if (piece.segment != segment) return;
        of_u += ds[n][e] * piece.u;
        of_one += ds[n][e];
      });
      of_u = Layer::WarpSum(of_u);
      of_one = Layer::WarpSum(of_one);
      if (Layer::Thread() % 32 == 0) {
        const int at = (warp * (p.n_knot + 1) + segment) * 2;
        sums.Set(at, sums.Get(at) + static_cast<double>(of_u));
        sums.Set(at + 1, sums.Get(at + 1) + static_cast<double>(of_one));
      }
    }
  }

  static LR_DEVICE void Run(const Params& p) {
    const std::int64_t head = Layer::Block() / p.n_query_tile;
    const int tile = p.n_query_tile - 1 - static_cast<int>(Layer::Block() % p.n_query_tile);
    const int b = static_cast<int>(head / p.n_head), h = static_cast<int>(head % p.n_head);
    const int i_0 = tile * kRows;
    const int row = Layer::Thread() / 32 * 16;

    typename Layer::Arena arena;
    const QueryTiles<Layer, Shape> tiles(arena);
    const TileNumbers<Layer> numbers(arena);
    const auto scratch = arena.template Take<float>(Shape::kScratch);
    const int n_segment_sum = p.segment_sums == nullptr ? 0 : kWarps * (p.n_knot + 1) * 2;
    const auto segments = arena.template Take<double>(n_segment_sum);

    const double anchor = AnchorOf(p, b, h, i_0);
    numbers.ReadQueries(p, b, h, i_0, kRows, anchor);
    numbers.ReadStatistics(p, b, h, i_0, kRows, anchor);
    tiles.LoadQueries(p, b, h, i_0);
    for (int at = Layer::Thread(); at < n_segment_sum; at += kThreads) segments.Set(at, 0.0);

    float dq[kHeadDim / 8][4] = {};
    double bias_sums[2] = {0.0, 0.0}, factor_sums[2] = {0.0, 0.0};
    const int first_tile = FirstKey(p, b, h, i_0) / kColumns;
    for (int key_tile = (p.n_key + kColumns - 1) / kColumns - 1; key_tile >= first_tile;
         --key_tile) {
      const int j_0 = key_tile * kColumns;
      const TileView view = ViewOf(p, b, i_0, kRows, j_0, kColumns);
      if (view.is_hidden) continue;
      Layer::Barrier();  // the tile before has been read
      numbers.ReadKeys(p, b, h, j_0, kColumns, anchor);
      float s[kColumns / 8][4] = {}, ds[kColumns / 8][4] = {};
      tiles.AddProducts(p, b, h, i_0, j_0, row, s, ds);
      AddTerms<Layer, false, kColumns>(p, h, numbers, view.is_whole, i_0, j_0, row, s);
      SoftmaxBackward<Layer, false, kColumns>(p, b, h, numbers, i_0, j_0, row, s, ds);
      AddProducts<Layer, Shape, kColumns, kHeadDim>(p, ds, scratch, tiles.k, 0, dq);

      if (p.query_bias != nullptr) {
        float of_tile[2] = {0.0F, 0.0F};
        ForPairs<Layer, false, kColumns>(i_0, j_0, row, [&](int n, int e, const Pair& pair) {
          const bool is_left = p.distance + pair.i - pair.j >= 0;
          of_tile[e / 2] += is_left ? ds[n][e] : -ds[n][e];
        });
        LR_UNROLL
        for (int half = 0; half < 2; ++half) bias_sums[half] += static_cast<double>(of_tile[half]);
      }
      if (p.row_sums != nullptr) {
        float of_tile[2] = {0.0F, 0.0F};
        ForPairs<Layer, false, kColumns>(i_0, j_0, row, [&](int n, int e, const Pair& pair) {
          if (ds[n][e] == 0.0F) return;
          const int distance = p.distance + pair.i - pair.j;
          const int segment = h * (p.n_knot + 1) + PieceOf(p, numbers, pair).segment;
          of_tile[e / 2] +=
              ds[n][e] * p.slope[segment] * p.psi[distance < 0 ? -distance : distance];
        });
        LR_UNROLL
        for (int half = 0; half < 2; ++half) {
          factor_sums[half] += static_cast<double>(of_tile[half]) * kLn2;
        }
      }
      if (n_segment_sum > 0) AddSegments(p, numbers, i_0, j_0, row, ds, segments);
    }

    const float factors[2] = {p.product_scale, p.product_scale};
    StoreRows<Layer, typename Shape::Math, kHeadDim>(p, p.dq, b, h, i_0 + row, p.n_query, 0,
                                                     factors, dq);
    const auto write_sums = [&](double(&sums)[2], double* to) {
      Layer::QuadSum(sums);
      LR_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int i = i_0 + row + Layer::Thread() % 32 / 4 + 8 * half;
        if (i < p.n_query && Layer::Thread() % 4 == 0) to[head * p.n_query + i] = sums[half];
      }
    };
    if (p.query_bias != nullptr) write_sums(bias_sums, p.query_bias);
    if (p.row_sums != nullptr) write_sums(factor_sums, p.row_sums);
    if (n_segment_sum > 0) {
      Layer::Barrier();  // every warp has added
      const int n = (p.n_knot + 1) * 2;
      double* const to = p.segment_sums + (head * p.n_query_tile + tile) * n;
      for (int at = Layer::Thread(); at < n; at += kThreads) {
        double sum = 0.0;
        for (int warp = 0; warp < kWarps; ++warp) sum += segments.Get(warp * n + at);
        to[at] = sum;
      }
    }
  }
};

template <typename TheLayer, typename TheShape>
struct KeyKernel {
  using Layer = TheLayer;
  using Shape = TheShape;
  using Params = typename Shape::Params;
  using Element = typename Shape::Element;
  using Tile = typename Layer::template Shared<Element>;
  static constexpr int kColumns = Shape::kColumns;
  static constexpr int kNarrowHeadDim = kNarrowHeadDimOf<Shape>;
  // dk and dv of more channels than these would not fit in registers. So several blocks own the
  // channels of a wide head, and each computes the scores.
  static constexpr int kOut = Shape::kHeadDim < 128 ? Shape::kHeadDim : 128;
  static constexpr int kParts = Shape::kHeadDim / kOut;

  static int SharedBytes(const Params& /*p*/) {
    return (Shape::kSharesRows ? 1 : 2) * Shape::TileBytes(kRows) + 2 * Shape::TileBytes(kColumns) +
           TileNumbers<Layer>::kBytes + 4 * Shape::kScratch;
  }
  static std::int64_t Blocks(const Params& p) {
    return static_cast<std::int64_t>(p.batch) * p.n_kv_head * p.n_key_tile * kParts;
  }

  static LR_DEVICE void Run(const Params& p) {
    const int channel = static_cast<int>(Layer::Block() % kParts) * kOut;
    const std::int64_t item = Layer::Block() / kParts;
    const std::int64_t kv_head = item / p.n_key_tile;
    const int j_0 = static_cast<int>(item % p.n_key_tile) * kRows;
    const int b = static_cast<int>(kv_head / p.n_kv_head);
    const int h_kv = static_cast<int>(kv_head % p.n_kv_head);
    const int row = Layer::Thread() / 32 * 16;

    typename Layer::Arena arena;
    const Tile k = arena.template Take<Element>(kRows * Shape::kStride);
    const Tile v = Shape::kSharesRows ? k : arena.template Take<Element>(kRows * Shape::kStride);
    const Tile q = arena.template Take<Element>(kColumns * Shape::kStride);
    const Tile o_gradient = arena.template Take<Element>(kColumns * Shape::kStride);
    const TileNumbers<Layer> numbers(arena);
    const auto scratch = arena.template Take<float>(Shape::kScratch);
    const auto load_keys = [&](const Rows& rows, const Tile& to) {
      LoadTile<Layer, Shape>(p, rows, rows.data, b, h_kv, j_0, kRows, p.n_key, to);
    };
    if constexpr (!Shape::kSharesRows) {
      load_keys(p.k[0], k);
      load_keys(p.v, v);
    }

    float dk[kOut / 8][4] = {}, dv[kOut / 8][4] = {};
    for (int h = h_kv * p.group; h < (h_kv + 1) * p.group; ++h) {
      double bias_sums[2] = {0.0, 0.0};
      const int i_end = QueryEnd(p, b, h, j_0);
      for (int i_0 = 0; i_0 < i_end; i_0 += kColumns) {
        const TileView view = ViewOf(p, b, i_0, kColumns, j_0, kRows);
        if (view.is_hidden || FirstKey(p, b, h, i_0) > j_0) continue;
        Layer::Barrier();  // the tile before has been read
        const double anchor = AnchorOf(p, b, h, i_0);
        numbers.ReadKeys(p, b, h, j_0, kRows, anchor);
        numbers.ReadQueries(p, b, h, i_0, kColumns, anchor);
        numbers.ReadStatistics(p, b, h, i_0, kColumns, anchor);
        LoadTile<Layer, Shape>(p, p.q[0], p.q[0].data, b, h, i_0, kColumns, p.n_query, q);
        LoadTile<Layer, Shape>(p, p.o_gradient, p.o_gradient.data, b, h, i_0, kColumns, p.n_query,
                               o_gradient);
        float s[kColumns / 8][4] = {}, ds[kColumns / 8][4] = {};
        if constexpr (Shape::kSharesRows) {
          load_keys(p.v, v);
          Layer::Barrier();
          AddRowProducts<Layer, Shape, kColumns>(p, v, row, o_gradient, ds);
          Layer::Barrier();  // v has been read
          load_keys(p.k[0], k);
          Layer::Barrier();
          AddRowProducts<Layer, Shape, kColumns>(p, k, row, q, s);
        } else {
          Layer::Barrier();
          AddRowProducts<Layer, Shape, kColumns>(p, k, row, q, s);
          AddRowProducts<Layer, Shape, kColumns>(p, v, row, o_gradient, ds);
        }
        AddTerms<Layer, true, kColumns>(p, h, numbers, view.is_whole, i_0, j_0, row, s);
        SoftmaxBackward<Layer, true, kColumns>(p, b, h, numbers, i_0, j_0, row, s, ds);
        AddProducts<Layer, Shape, kColumns, kOut>(p, s, scratch, o_gradient, channel, dv);
        AddProducts<Layer, Shape, kColumns, kOut>(p, ds, scratch, q, channel, dk);
        if (p.d_key_bias.data != nullptr && channel == 0) {
          float of_tile[2] = {0.0F, 0.0F};
          ForPairs<Layer, true, kColumns>(i_0, j_0, row, [&](int n, int e, const Pair& pair) {
            const bool is_subtracted = p.two_sided != 0 && p.distance + pair.i - pair.j >= 0;
            of_tile[e / 2] += is_subtracted ? -ds[n][e] : ds[n][e];
          });
          LR_UNROLL
          for (int half = 0; half < 2; ++half) {
            bias_sums[half] += static_cast<double>(of_tile[half]);
          }
        }
      }
      if (p.d_key_bias.data != nullptr && channel == 0) {
        WriteKeyBias(p, b, h, j_0 + row, bias_sums);
      }
    }
    const float k_factors[2] = {p.product_scale, p.product_scale}, v_factors[2] = {1.0F, 1.0F};
    StoreRows<Layer, typename Shape::Math, kOut>(p, p.dk, b, h_kv, j_0 + row, p.n_key, channel,
                                                 k_factors, dk);
    StoreRows<Layer, typename Shape::Math, kOut>(p, p.dv, b, h_kv, j_0 + row, p.n_key, channel,
                                                 v_factors, dv);
  }

  // The gradients of the key bias of the warp's keys. A two-sided bias also has, at the key of each
  // query, what that query sums over its keys.
  static LR_DEVICE void WriteKeyBias(const Params& p, int b, int h, int first, double (&sums)[2]) {
    Layer::QuadSum(sums);
    if (Layer::Thread() % 4 != 0) return;
    const std::int64_t head = static_cast<std::int64_t>(b) * p.n_head + h;
    LR_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int j = first + Layer::Thread() % 32 / 4 + 8 * half;
      if (j >= p.n_key) continue;
      double sum = sums[half];
      const int i = j - p.distance;
      if (p.query_bias != nullptr && i >= 0 && i < p.n_query) {
        sum += p.query_bias[head * p.n_query + i];
      }
      WriteNumber(p.d_key_bias, head * p.n_key + j, sum);
    }
  }
};

template <typename TheLayer, typename TheShape>
struct DistanceKernel {
  using Layer = TheLayer;
  using Shape = TheShape;
  using Params = typename Shape::Params;
  using Element = typename Shape::Element;
  using Tile = typename Layer::template Shared<Element>;
  static constexpr int kColumns = Shape::kColumns;
  static constexpr int kNarrowHeadDim = kNarrowHeadDimOf<Shape>;
  static constexpr int kPairStride = kRows + 1;

  static int SharedBytes(const Params& /*p*/) {
    return QueryTiles<Layer, Shape>::kBytes + TileNumbers<Layer>::kBytes + 4 * kRows * kPairStride;
  }
  static std::int64_t Blocks(const Params& p) {
    return static_cast<std::int64_t>(p.batch) * p.n_head * p.Diagonals();
  }

  static LR_DEVICE void Run(const Params& p) {
    const int n_diagonal = p.Diagonals();
    const std::int64_t head = Layer::Block() / n_diagonal;
    const int difference = static_cast<int>(Layer::Block() % n_diagonal) - (p.Squares(p.n_key) - 1);
    const int b = static_cast<int>(head / p.n_head), h = static_cast<int>(head % p.n_head);
    const int row = Layer::Thread() / 32 * 16;

    typename Layer::Arena arena;
    const QueryTiles<Layer, Shape> tiles(arena);
    const TileNumbers<Layer> numbers(arena);
    const auto pairs = arena.template Take<float>(kRows * kPairStride);

    // Of the thread's distance: query minus key, within a tile, is Thread() - (kRows - 1).
    double sum = 0.0, psi_sum = 0.0;
    const int end = Min(p.Squares(p.n_query), p.Squares(p.n_key) + difference);
    for (int tile = Max(0, difference); tile < end; ++tile) {
      const int i_0 = tile * kRows, tile_j_0 = (tile - difference) * kRows;
      if (ViewOf(p, b, i_0, kRows, tile_j_0, kRows).is_hidden) continue;
      if (FirstKey(p, b, h, i_0) > tile_j_0) continue;
      const double anchor = AnchorOf(p, b, h, i_0);
      Layer::Barrier();  // the tile before has been read
      numbers.ReadQueries(p, b, h, i_0, kRows, anchor);
      numbers.ReadStatistics(p, b, h, i_0, kRows, anchor);
      tiles.LoadQueries(p, b, h, i_0);
      for (int column = 0; column < kRows; column += kColumns) {
        const int j_0 = tile_j_0 + column;
        Layer::Barrier();
        numbers.ReadKeys(p, b, h, j_0, kColumns, anchor);
        float s[kColumns / 8][4] = {}, ds[kColumns / 8][4] = {};
        tiles.AddProducts(p, b, h, i_0, j_0, row, s, ds);
        AddTerms<Layer, false, kColumns>(p, h, numbers, false, i_0, j_0, row, s);
        SoftmaxBackward<Layer, false, kColumns>(p, b, h, numbers, i_0, j_0, row, s, ds);
        ForPairs<Layer, false, kColumns>(i_0, j_0, row, [&](int n, int e, const Pair& pair) {
          pairs.Set(pair.at_i * kPairStride + column + pair.at_j, ds[n][e]);
        });
        if (p.distance_sums != nullptr) {
          Layer::Barrier();
          sum += DiagonalSum(pairs, column);
          Layer::Barrier();
        }
        if (p.psi_sums != nullptr) {
          ForPairs<Layer, false, kColumns>(i_0, j_0, row, [&](int n, int e, const Pair& pair) {
            float x = 0.0F;
            if (ds[n][e] != 0.0F) {
              const int segment = h * (p.n_knot + 1) + PieceOf(p, numbers, pair).segment;
              x = ds[n][e] * p.slope[segment] * numbers.factor.Get(pair.at_i);
            }
            pairs.Set(pair.at_i * kPairStride + column + pair.at_j, x);
          });
          Layer::Barrier();
          psi_sum += DiagonalSum(pairs, column);
          Layer::Barrier();
        }
      }
    }
    const int entry = Layer::Thread();
    if (entry >= p.Distances()) return;
    const std::int64_t at = Layer::Block() * p.Distances() + entry;
    if (p.distance_sums != nullptr) p.distance_sums[at] = sum;
    if (p.psi_sums != nullptr) p.psi_sums[at] = psi_sum * kLn2;  // slopes are in base 2
  }

  // The sum of the pairs at the thread's distance, in columns [column, column + kColumns).
  static LR_DEVICE double DiagonalSum(const typename Layer::template Shared<float>& pairs,
                                      int column) {
    const int distance = Layer::Thread() - (kRows - 1);
    double sum = 0.0;
    if (distance >= kRows) return sum;
    for (int j = Max(column, -distance); j < Min(column + kColumns, kRows - distance); ++j) {
      sum += static_cast<double>(pairs.Get((j + distance) * kPairStride + j));
    }
    return sum;
  }
};

}  // namespace gpu
}  // namespace longrun
