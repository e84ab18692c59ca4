// Backward for bf16 calls with few terms, in two kernels as in backward-inl.h: PipelinedQueryKernel
// owns queries and computes dq~; PipelinedKeyKernel owns keys and computes dk~, dv and the gradient
// of the key bias from transposed scores, whose rows are keys. The kernel of queries sums the
// queries' part of the gradient of a two-sided bias. A block owns 128 rows of a narrow
// head, or 64 of a wide one. It walks tiles of 64 rows of the other side in halves, so that the
// scores and their gradients fit into registers beside the sums.
//
// Or in a single kernel: with SingleBackwardParams, PipelinedKeyKernel also adds its part of dq~ to
// sums in global memory (query_sums-inl.h). Scores are computed once then.
#pragma once

#include <type_traits>

#include "kernels/cuda/pipeline-inl.h"
#include "kernels/cuda/query_sums-inl.h"

namespace longrun {
namespace gpu {

// What backward needs of a query: its lse in base 2, less the anchor of the biases, and its delta.
// A row that saw no key has an lse of -infinity; 0 then makes its probabilities 0.
struct QueryStatistics {
  float lse = 0.0F, delta = 0.0F;

  template <typename Params>
  static LR_DEVICE QueryStatistics Of(const Params& p, int b, int h, int i, double anchor) {
    QueryStatistics query;
    if (i >= p.n_query) return query;
    const std::int64_t at = (static_cast<std::int64_t>(b) * p.n_head + h) * p.n_query + i;
    const double sum = ReadNumber(p.lse, at);
    const bool saw_none = sum == static_cast<double>(kHidden);
    query.lse = saw_none ? 0.0F : static_cast<float>((sum - LseAnchor(p, anchor)) * kLog2E);
    query.delta = p.delta[at];
    return query;
  }
};

// What both kernels share.
template <typename TheLayer, typename TheShape>
struct BackwardKernel : PipelinedKernel<TheLayer, TheShape, TheShape::kHeadDim <= 64 ? 2 : 1> {
  using Base = PipelinedKernel<TheLayer, TheShape, TheShape::kHeadDim <= 64 ? 2 : 1>;
  static constexpr int kTileRows = 64, kColumns = 32;
  static constexpr int kTileBytes = 2 * Base::kHeadDim * (2 * Base::kBlockRows + 4 * kTileRows);
  using Sums = typename Base::Layer::template Shared<double>;

  // Adds the sums of rows of a warp's x, times the sign, to what its threads have in their slots.
  static LR_DEVICE void AddRowSums(const float (&x)[Base::kFragments][kColumns / 8][4], float sign,
                                   const Sums& sums) {
    LR_UNROLL
    for (int m = 0; m < Base::kFragments; ++m) {
      float of_tile[2] = {0.0F, 0.0F};
      LR_UNROLL
      for (int n = 0; n < kColumns / 8; ++n) {
        LR_UNROLL
        for (int e = 0; e < 4; ++e) of_tile[e / 2] += x[m][n][e];
      }
      LR_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int at = Base::SlotOf(m, half);
        sums.Set(at, sums.Get(at) + static_cast<double>(sign * of_tile[half]));
      }
    }
  }
};

template <typename TheLayer, typename TheShape>
struct PipelinedQueryKernel : BackwardKernel<TheLayer, TheShape> {
  using Base = BackwardKernel<TheLayer, TheShape>;
  using Base::kHeadDim, Base::kFragments, Base::kWarpRows, Base::kBlockRows, Base::kTileRows,
      Base::kColumns, Base::kSteps;
  using typename Base::Layer, typename Base::Math, typename Base::Params, typename Base::Tile;
  using Bias = TileBias<Layer, Params, false, kBlockRows, kTileRows>;
  using typename Base::Sums;
  using Scores = float[kFragments][kColumns / 8][4];
  using Numbers = typename Layer::template Shared<float>;
  // With pieces or a two-sided bias, a thread has slots for what would not fit into registers: the
  // statistics of its rows, and the sums that are gradients of their row factors or biases.
  static constexpr bool kHasSlots = Params::kHasPieces || Params::kIsTwoSided;
  static constexpr int kSlots = kHasSlots ? Base::kRowSlots : 0;

  // The sums of all segments: one of ds u and one of ds for each.
  static LR_BOTH int SegmentSums(const Params& p) {
    return Params::kHasPieces && p.segment_sums != nullptr ? 2 * (p.n_knot + 1) : 0;
  }
  static int SharedBytes(const Params& p) {
    return Base::kTileBytes + Bias::kBytes + 16 * kSlots + 8 * kWarps * SegmentSums(p);
  }
  static std::int64_t Blocks(const Params& p) {
    return static_cast<std::int64_t>(p.batch) * p.n_head * Base::Tiles(p.n_query);
  }

  static LR_DEVICE void Run(const Params& p) {
    const auto own = Base::template Own<true>(p.n_query, p.n_head, p.batch * p.n_head, p.n_key);
    const int b = own.b, h = own.h, h_kv = h / p.group, i_0 = own.first, row = own.row;
    const int g = Layer::Thread() % 32 / 4;

    typename Layer::Arena arena;
    const Tile q = arena.template Take<std::uint16_t>(kBlockRows * kHeadDim);
    const Tile o_gradient = arena.template Take<std::uint16_t>(kBlockRows * kHeadDim);
    const Tile k = arena.template Take<std::uint16_t>(2 * kTileRows * kHeadDim);
    const Tile v = arena.template Take<std::uint16_t>(2 * kTileRows * kHeadDim);
    Bias bias(arena);
    const Numbers statistics = arena.template Take<float>(2 * kSlots);
    const Sums row_sums = arena.template Take<double>(kSlots);
    const Sums segment_sums = arena.template Take<double>(kWarps * SegmentSums(p));
    const double anchor = AnchorOf(p, b, h, i_0);
    for (int at = Layer::Thread(); at < kSlots; at += kThreads) row_sums.Set(at, 0.0);
    for (int at = Layer::Thread() % 32; at < SegmentSums(p); at += 32) {
      segment_sums.Set(Layer::Thread() / 32 * SegmentSums(p) + at, 0.0);
    }

    const KeyTiles<Layer, Params, kTileRows> tiles(p, b, h, i_0, kBlockRows);
    std::uint32_t of_q[kSteps][kFragments][4], of_o[kSteps][kFragments][4];
    QueryStatistics queries[kFragments][2];
    if (tiles.n > 0) {
      CopyTile<Layer, kHeadDim, kBlockRows>(p, p.q[0], b, h, i_0, p.n_query, q, 0);
      CopyTile<Layer, kHeadDim, kBlockRows>(p, p.o_gradient, b, h, i_0, p.n_query, o_gradient, 0);
      Layer::CommitCopies();
      CopyKeys<Layer, kHeadDim, kTileRows>(p, b, h_kv, tiles.n - 1, k, Tile(), v);
      bias.PutRows(p, b, h, i_0 + row + g, anchor);
      bias.Read(p, b, h, i_0, (tiles.n - 1) * kTileRows, anchor);
      bias.Put((tiles.n - 1) & 1);
      LR_UNROLL
      for (int m = 0; m < kFragments; ++m) {
        LR_UNROLL
        for (int half = 0; half < 2; ++half) {
          const int i = i_0 + row + 16 * m + 8 * half + g;
          queries[m][half] = QueryStatistics::Of(p, b, h, i, anchor);
          if constexpr (kHasSlots) {
            statistics.Set(Base::SlotOf(m, half), queries[m][half].lse);
            statistics.Set(kSlots + Base::SlotOf(m, half), queries[m][half].delta);
          }
        }
      }
      Layer::template WaitCopies<1>();
      Layer::Barrier();
      LR_UNROLL
      for (int step = 0; step < kSteps; ++step) {
        LoadFragments<Layer, kHeadDim, kFragments>(q, row, 16 * step, of_q[step]);
        LoadFragments<Layer, kHeadDim, kFragments>(o_gradient, row, 16 * step, of_o[step]);
      }
    }

    float dq[kFragments][kHeadDim / 8][4] = {};
    for (int key_tile = tiles.n - 1; key_tile >= tiles.first; key_tile = tiles.Next(key_tile)) {
      const int place = key_tile & 1;
      Layer::template WaitCopies<0>();
      Layer::Barrier();  // the tile has arrived, and the one before has been read
      if (key_tile > tiles.first) {
        CopyKeys<Layer, kHeadDim, kTileRows>(p, b, h_kv, tiles.Next(key_tile), k, Tile(), v);
      }
      for (int column = 0; column < kTileRows; column += kColumns) {
        const int j_0 = key_tile * kTileRows + column, from = place * kTileRows + column;
        const TileView view = ViewOf(p, b, i_0 + row, kWarpRows, j_0, kColumns);
        if (view.is_hidden) continue;
        float s[kFragments][kColumns / 8][4] = {}, ds[kFragments][kColumns / 8][4] = {};
        LR_UNROLL
        for (int step = 0; step < kSteps; ++step) {
          AddFragmentProducts<Layer, Math, kHeadDim, kFragments, kColumns>(of_q[step], k, from,
                                                                           16 * step, s);
        }
        const Sides<Layer, false, kFragments, kColumns> sides{p.distance + i_0 + row - j_0};
        if constexpr (Params::kIsTwoSided) {
          bias.AddTwoSided(p, place, column, sides, s);
        } else {
          const auto row_factors = RowFactorsOf<Layer, kFragments, kColumns>(p, i_0 + row);
          bias.template Add<kFragments, kColumns>(p, Layer::Opaque(h), place, row, column,
                                                  row_factors, s);
        }
        const std::uint32_t hidden =
            HideScores<Layer, false, Params::kHasPieces>(p, view, b, i_0 + row, j_0, s);
        if constexpr (kHasSlots) GetStatistics(statistics, queries);
        ForScores<kFragments, kColumns>([&](int m, int n, int e) {
          s[m][n][e] = Layer::Exp2(s[m][n][e] * ScaleOf(p) - queries[m][e / 2].lse);
        });
        LR_UNROLL
        for (int step = 0; step < kSteps; ++step) {
          AddFragmentProducts<Layer, Math, kHeadDim, kFragments, kColumns>(of_o[step], v, from,
                                                                           16 * step, ds);
        }
        ForScores<kFragments, kColumns>([&](int m, int n, int e) {
          ds[m][n][e] = s[m][n][e] * (ds[m][n][e] - queries[m][e / 2].delta);
        });
        HideGradients<Layer, false, Params::kHasPieces>(p, view, hidden, i_0 + row, j_0, ds);
        if constexpr (Params::kHasPieces) {
          AddPieces(p, bias, Layer::Opaque(h), Layer::Opaque(i_0), place, row, column, ds, row_sums,
                    segment_sums);
        }
        AddScoreProducts<Layer, Math, kHeadDim, kFragments, kColumns>(ds, k, from, dq);
        if constexpr (Params::kIsTwoSided) {
          if (p.query_bias != nullptr) Base::AddRowSums(ds, sides.Sign(ds), row_sums);
        }
      }
      if (key_tile > tiles.first) {
        const int first = Layer::Opaque(i_0);
        bias.Read(p, b, h, first, tiles.Next(key_tile) * kTileRows, AnchorOf(p, b, h, first));
        bias.Put(1 - place);
      }
    }

    const float factors[2] = {p.product_scale, p.product_scale};
    LR_UNROLL
    for (int m = 0; m < kFragments; ++m) {
      StoreRows<Layer, Math, kHeadDim>(p, p.dq, b, h, i_0 + row + 16 * m, p.n_query, 0, factors,
                                       dq[m]);
    }
    if constexpr (Params::kHasPieces) {
      // Slopes are in base 2.
      WriteRowSums(p, own.head, i_0 + row + g, row_sums, kLn2, p.row_sums);
      WriteSegmentSums(p, own.head, i_0, segment_sums);
    }
    if constexpr (Params::kIsTwoSided) {
      WriteRowSums(p, own.head, i_0 + row + g, row_sums, 1.0, p.query_bias);
    }
  }

  static LR_DEVICE void GetStatistics(const Numbers& statistics,
                                      QueryStatistics (&queries)[kFragments][2]) {
    LR_UNROLL
    for (int m = 0; m < kFragments; ++m) {
      LR_UNROLL
      for (int half = 0; half < 2; ++half) {
        queries[m][half].lse = statistics.Get(Base::SlotOf(m, half));
        queries[m][half].delta = statistics.Get(kSlots + Base::SlotOf(m, half));
      }
    }
  }
  // Adds ds of a warp's pairs to what the gradients of a piecewise linear function are made of.
  static LR_DEVICE void AddPieces(const Params& p, const Bias& bias, int h, int i_0, int place,
                                  int row, int column, const Scores& ds, const Sums& row_sums,
                                  const Sums& segment_sums) {
    if (p.row_sums == nullptr && p.segment_sums == nullptr) return;
    const auto row_factors = RowFactorsOf<Layer, kFragments, kColumns>(p, i_0 + row);
    const int thread = Layer::Opaque(Layer::Thread());
    float of_rows[kFragments][2] = {};
    const SegmentRange range =
        bias.template SegmentsOf<kFragments, kColumns>(p, thread, place, row, column, row_factors);
    Bias::ForSegments(p, h, range, [&](const Segment& segment) {
      float of_u = 0.0F, of_one = 0.0F;
      bias.template ForDistances<kFragments, kColumns>(
          thread, place, row, column, [&](int m, int n, int e, float psi) {
            const float u = psi * row_factors.Get(m, n, e);
            if (!segment.Has(u)) return;
            of_u += ds[m][n][e] * u;
            of_one += ds[m][n][e];
            of_rows[m][e / 2] += ds[m][n][e] * (segment.slope * psi);
          });
      of_u = Layer::WarpSum(of_u);
      of_one = Layer::WarpSum(of_one);
      if (p.segment_sums != nullptr && Layer::Thread() % 32 == 0) {
        const int at = Layer::Thread() / 32 * SegmentSums(p) + 2 * segment.number;
        segment_sums.Set(at, segment_sums.Get(at) + static_cast<double>(of_u));
        segment_sums.Set(at + 1, segment_sums.Get(at + 1) + static_cast<double>(of_one));
      }
    });
    LR_UNROLL
    for (int m = 0; m < kFragments; ++m) {
      LR_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int at = Base::SlotOf(m, half);
        row_sums.Set(at, row_sums.Get(at) + static_cast<double>(of_rows[m][half]));
      }
    }
  }
  // Writes the sums of the rows of the thread's quad, times `factor`. The first row is query i.
  static LR_DEVICE void WriteRowSums(const Params& p, int head, int i, const Sums& row_sums,
                                     double factor, double* to) {
    if (to == nullptr) return;
    LR_ROLL
    for (int m = 0; m < kFragments; ++m) {
      double sums[2] = {row_sums.Get(Base::SlotOf(m, 0)), row_sums.Get(Base::SlotOf(m, 1))};
      Layer::QuadSum(sums);
      LR_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int own = i + 16 * m + 8 * half;
        if (Layer::Thread() % 4 == 0 && own < p.n_query) {
          to[static_cast<std::int64_t>(head) * p.n_query + own] = sums[half] * factor;
        }
      }
    }
  }
  // Writes the sums of each kRows of the block's queries, which are those of some of its warps.
  static LR_DEVICE void WriteSegmentSums(const Params& p, int head, int i_0,
                                         const Sums& segment_sums) {
    const int n = SegmentSums(p);
    if (n == 0) return;
    constexpr int kTileWarps = kRows / kWarpRows;
    static_assert(kBlockRows % kRows == 0);
    Layer::Barrier();  // every warp has added
    LR_ROLL
    for (int tile = 0; tile < kBlockRows / kRows && i_0 + tile * kRows < p.n_query; ++tile) {
      const std::int64_t of_head = static_cast<std::int64_t>(head) * p.n_query_tile;
      double* const to = p.segment_sums + (of_head + i_0 / kRows + tile) * n;
      for (int at = Layer::Thread(); at < n; at += kThreads) {
        double sum = 0.0;
        for (int warp = tile * kTileWarps; warp < (tile + 1) * kTileWarps; ++warp) {
          sum += segment_sums.Get(warp * n + at);
        }
        to[at] = sum;
      }
    }
  }
};

// Of a backward pass in a single kernel.
template <typename Known>
struct SingleBackwardParams : Known {
  static constexpr bool kAddsQueries = true, kAddsIntegers = true;
  QuerySums of_queries;
};
// The same for benchmarks, in any order.
template <typename Known>
struct UnorderedBackwardParams : Known {
  static constexpr bool kAddsQueries = true;
  UnorderedSums of_queries;
};

template <typename TheLayer, typename TheShape>
struct PipelinedKeyKernel : BackwardKernel<TheLayer, TheShape> {
  using Base = BackwardKernel<TheLayer, TheShape>;
  using Base::kHeadDim, Base::kFragments, Base::kWarpRows, Base::kBlockRows, Base::kTileRows,
      Base::kColumns, Base::kSteps;
  using typename Base::Layer, typename Base::Math, typename Base::Params, typename Base::Tile;
  using Numbers = typename Layer::template Shared<float>;
  using typename Base::Sums;
  using Bias = TileBias<Layer, Params, true, kTileRows, kBlockRows>;
  // Each thread has slots of its own for the sums of its keys' gradients, which would not fit into
  // registers.
  static constexpr int kSumSlots = Params::kHasKeyBias ? Base::kRowSlots : 0;
  static constexpr bool kHasOneSided = Params::kHasKeyBias && !Params::kIsTwoSided;
  // With a mask, the loop passes over tiles anyway, so it also is the one of calls that skip keys.
  static constexpr bool kSkips =
      Params::kSkips || (Params::kHasMask && (kHasOneSided || Params::kHasTable));
  // For dq~: ds of a tile, with a row for each key, and the factors of its queries.
  static constexpr int kScores = Params::kAddsQueries ? kBlockRows * kTileRows : 0;
  static constexpr int kFactors = Params::kAddsIntegers ? 2 * kTileRows : 0;
  static constexpr int kRowFactors = Params::kHasPieces ? 2 * kTileRows : 0;
  // Narrow heads take the most registers: the kernel then computes addresses again.
  static constexpr bool kIsNarrow = kHeadDim <= 64;
  // What the loop needs only beside its scores: it has no registers left to keep it in.
  static constexpr bool kKeepsAside = Params::kAddsQueries || Params::kHasMask ||
                                      Params::kHasPieces || Params::kIsTwoSided ||
                                      (kIsNarrow && Layer::kIsFrom100);
  // The host, which does not know the GPU, leaves room for it.
  static constexpr int kAside = kKeepsAside || kIsNarrow ? 12 : 0;
  using Aside = typename Layer::template Shared<int>;
  // Places in it. Two tiles, this one and the next, have two places like the tiles themselves.
  static constexpr int kSequence = 0, kKeyHead = 1, kFirstKey = 2, kFirstQuery = 3, kQueryEnd = 4;
  static constexpr int kTwoTiles = 6;
  template <int kWidth>
  using Layout = std::conditional_t<kIsNarrow, SplitRows<kWidth>, SwizzledRows<kWidth>>;
  using Scores = Layout<kTileRows>;
  static LR_DEVICE int Again(int x) { return kIsNarrow ? Layer::OpaqueBefore90(x) : x; }

  // The warp's first row, own.row, for the loop. Before capability 9.0, a kernel that adds floats
  // has no register to keep it in.
  static LR_DEVICE int LoopRow(int row) {
    if constexpr (Params::kAddsQueries && !Params::kAddsIntegers) {
      row = Layer::OpaqueBefore90(Layer::Thread()) / 32 * kWarpRows;
    }
    return Again(Base::RowAgain(row));
  }

  static int SharedBytes(const Params& /*p*/) {
    return Base::kTileBytes + 4 * 4 * kTileRows + Bias::kBytes + 8 * kSumSlots + 2 * kScores +
           4 * (kFactors + kRowFactors + kAside);
  }
  static std::int64_t Blocks(const Params& p) {
    return static_cast<std::int64_t>(p.batch) * p.n_kv_head * Base::Tiles(p.n_key);
  }

  // Tiles of queries are numbered through the heads that share the keys.
  static_assert(kTileRows == kRows);
  static LR_DEVICE int HeadOf(const Params& p, int h_kv, int tile) {
    return h_kv * p.group + tile / p.n_query_tile;
  }
  static LR_DEVICE int QueryOf(const Params& p, int tile) {
    return tile % p.n_query_tile * kTileRows;
  }
  static LR_DEVICE void PutAside(const Params& p, int b, int h_kv, int j_0, const Aside& aside) {
    if (Layer::Thread() < 32) {
      QueryRange queries;
      if constexpr (Params::kHasMask) queries = MaskedQueries<Layer>(p, b, j_0, kBlockRows);
      if (Layer::Thread() == 0) {
        aside.Set(kSequence, b);
        aside.Set(kKeyHead, h_kv);
        aside.Set(kFirstKey, j_0);
        aside.Set(kFirstQuery, queries.begin);
        aside.Set(kQueryEnd, queries.end);
      }
    }
    Layer::Barrier();
  }
  // Queries before this one do not see the keys from j_0.
  static LR_DEVICE int FirstQuery(const Params& p, int j_0, const Aside& aside) {
    if constexpr (Params::kHasMask) {
      return aside.Get(kFirstQuery);
    } else {
      return p.causal != 0 ? Max(j_0 - p.distance, 0) : 0;
    }
  }
  // No query of head h from here on visits them.
  static LR_DEVICE int EndOfQueries(const Params& p, int b, int h, int j_0, const Aside& aside) {
    const int end = kSkips ? QueryEnd(p, b, h, j_0) : p.n_query;
    if constexpr (Params::kHasMask) return Min(end, aside.Get(kQueryEnd));
    return end;
  }
  // The first tile from `tile` on that visits the keys from j_0; group * n_query_tile: none.
  static LR_DEVICE int NextTile(const Params& p, int b, int h_kv, int j_0, int tile,
                                const Aside& aside) {
    const int first = FirstQuery(p, j_0, aside) / kTileRows, n_tile = p.n_query_tile;
    LR_ROLL
    while (tile < p.group * n_tile) {
      const int head = tile / n_tile, of_head = Max(tile % n_tile, first);
      const int i_0 = of_head * kTileRows;
      tile = head * n_tile + of_head;
      if (i_0 >= EndOfQueries(p, b, h_kv * p.group + head, j_0, aside)) {
        tile = (head + 1) * n_tile;
      } else if (kSkips && FirstKey(p, b, h_kv * p.group + head, i_0) > j_0) {
        ++tile;
      } else {
        break;
      }
    }
    return tile;
  }

  static LR_DEVICE void Run(const Params& p) {
    const auto own = Base::template Own<false>(p.n_key, p.n_kv_head, p.batch * p.n_kv_head,
                                               std::int64_t{p.n_query} * p.group);
    int b = own.b, h_kv = own.h, j_0 = own.first;
    const int g = Layer::Thread() % 32 / 4, t = Layer::Thread() % 4;

    typename Layer::Arena arena;
    const Tile k = arena.template Take<std::uint16_t>(kBlockRows * kHeadDim);
    const Tile v = arena.template Take<std::uint16_t>(kBlockRows * kHeadDim);
    const Tile q = arena.template Take<std::uint16_t>(2 * kTileRows * kHeadDim);
    const Tile o_gradient = arena.template Take<std::uint16_t>(2 * kTileRows * kHeadDim);
    const Numbers lse = arena.template Take<float>(2 * kTileRows);
    const Numbers delta = arena.template Take<float>(2 * kTileRows);
    const Sums bias_sums = arena.template Take<double>(kSumSlots);
    const Tile of_queries = arena.template Take<std::uint16_t>(kScores);
    const Numbers factors = arena.template Take<float>(kFactors);
    const Numbers row_factors = arena.template Take<float>(kRowFactors);
    const Aside aside = arena.template Take<int>(kAside);
    Bias bias(arena);

    const int tile_end = p.group * p.n_query_tile;
    if constexpr (kKeepsAside) PutAside(p, b, h_kv, j_0, aside);
    int tile = NextTile(p, b, h_kv, j_0, 0, aside);
    const auto put_numbers = [&](int of, int place) {
      const int h = HeadOf(p, h_kv, of), i_0 = QueryOf(p, of);
      if (Layer::Thread() < kTileRows) {
        const int at = place * kTileRows + Layer::Thread();
        const QueryStatistics query =
            QueryStatistics::Of(p, b, h, i_0 + Layer::Thread(), KeyAnchor(p, b, h, j_0));
        lse.Set(at, query.lse);
        delta.Set(at, query.delta);
        if constexpr (Params::kAddsIntegers) {
          factors.Set(at, FactorOf(p, b, h, i_0 + Layer::Thread()));
        }
        if constexpr (Params::kHasPieces) {
          row_factors.Set(at, RowFactorOf(p, i_0 + Layer::Thread()));
        }
      }
      bias.Read(p, b, h, i_0, j_0, KeyAnchor(p, b, h, j_0));
      bias.Put(place);
    };
    const auto copy_queries = [&](int from, int place) {
      const int h = HeadOf(p, h_kv, from), i_0 = QueryOf(p, from), to = place * kTileRows;
      CopyTile<Layer, kHeadDim, kTileRows>(p, p.q[0], b, h, i_0, p.n_query, q, to);
      CopyTile<Layer, kHeadDim, kTileRows>(p, p.o_gradient, b, h, i_0, p.n_query, o_gradient, to);
      Layer::CommitCopies();
    };

    if (tile < tile_end) {
      CopyTile<Layer, kHeadDim, kBlockRows>(p, p.k[0], b, h_kv, j_0, p.n_key, k, 0);
      CopyTile<Layer, kHeadDim, kBlockRows>(p, p.v, b, h_kv, j_0, p.n_key, v, 0);
      copy_queries(tile, 0);
      put_numbers(tile, 0);
    }

    float dk[kFragments][kHeadDim / 8][4] = {}, dv[kFragments][kHeadDim / 8][4] = {};
    // The biases of a tile are added before the exponentials, and those of keys in their exponents.
    const float scale = Bias::kHasDistances || Bias::kHasKeyBias ? 1.0F : p.scale;
    if constexpr (Params::kHasKeyBias) {
      ClearBiasSums(bias_sums);
      // j_0 + own.row + g is OwnKey(j_0); calling that here makes the compiler spill registers.
      WriteBiasSums(p, b, h_kv * p.group, HeadOf(p, h_kv, tile), j_0 + own.row + g, bias_sums);
      if (tile < tile_end) PutKeyBias(p, b, HeadOf(p, h_kv, tile), j_0, bias);
    }
    for (int place = 0; tile < tile_end; place = 1 - place) {
      int next = NextTile(p, b, h_kv, j_0, tile + 1, aside);
      if constexpr (kKeepsAside) {
        if (Layer::Thread() == 0) {
          aside.Set(kTwoTiles + 2 * place, tile);
          aside.Set(kTwoTiles + 2 * place + 1, next);
        }
      }
      Layer::template WaitCopies<0>();
      Layer::Barrier();  // the tile has arrived, and the one before has been read
      if (next < tile_end) copy_queries(next, 1 - place);
      const int i_tile = QueryOf(p, tile);
      for (int column = 0; column < kTileRows; column += kColumns) {
        int i_0 = i_tile + column;
        const int row = LoopRow(own.row);
        const int from = place * kTileRows + column;
        if constexpr (Params::kHasMask || Params::kIsTwoSided) {
          i_0 = QueryOf(p, aside.Get(kTwoTiles + 2 * place)) + column;
          b = aside.Get(kSequence);
          j_0 = aside.Get(kFirstKey);
        }
        const TileView view = ViewOf(p, b, i_0, kColumns, j_0 + row, kWarpRows);
        float s[kFragments][kColumns / 8][4] = {}, ds[kFragments][kColumns / 8][4] = {};
        if (view.is_hidden) {
          if constexpr (Params::kAddsQueries) PutScores(of_queries, column, ds);
          continue;
        }
        LR_UNROLL
        for (int step = 0; step < kSteps; ++step) {
          std::uint32_t a[kFragments][4];
          LoadFragments<Layer, kHeadDim, kFragments, Layout<kHeadDim>>(k, row, 16 * step, a);
          AddFragmentProducts<Layer, Math, kHeadDim, kFragments, kColumns, Layout<kHeadDim>>(
              a, q, from, 16 * step, s);
        }
        RowFactors<true, kFragments, kColumns> pieces;
        int h = 0;
        if constexpr (Params::kHasPieces) {
          h = HeadOf(p, aside.Get(kKeyHead), aside.Get(kTwoTiles + 2 * place));
          LR_UNROLL
          for (int n = 0; n < kColumns / 8; ++n) {
            row_factors.GetTwo(from + 8 * n + 2 * t, pieces.of[n]);
          }
        }
        const Sides<Layer, true, kFragments, kColumns> sides{p.distance + i_0 - j_0 - row};
        if constexpr (Params::kIsTwoSided) {
          bias.AddTwoSided(p, place, column, sides, s);
        } else {
          bias.template Add<kFragments, kColumns>(p, h, place, row, column, pieces, s);
        }
        const std::uint32_t hidden = HideScores<Layer, true, false>(p, view, b, i_0, j_0 + row, s);
        float of_key[kFragments][2] = {}, of_query[kColumns / 8][2];
        if constexpr (kHasOneSided) GetKeyBias(bias, of_key);
        LR_UNROLL
        for (int n = 0; n < kColumns / 8; ++n) lse.GetTwo(from + 8 * n + 2 * t, of_query[n]);
        ForScores<kFragments, kColumns>([&](int m, int n, int e) {
          const float shift = of_key[m][e / 2] - of_query[n][e % 2];
          s[m][n][e] = Layer::Exp2(s[m][n][e] * scale + shift);
        });
        LR_UNROLL
        for (int step = 0; step < kSteps; ++step) {
          std::uint32_t a[kFragments][4];
          LoadFragments<Layer, kHeadDim, kFragments, Layout<kHeadDim>>(v, Again(row), 16 * step, a);
          AddFragmentProducts<Layer, Math, kHeadDim, kFragments, kColumns, Layout<kHeadDim>>(
              a, o_gradient, Again(from), 16 * step, ds);
        }
        // Else loads of delta begin while the products still need their registers.
        if constexpr (kIsNarrow) Layer::SettleBefore90();
        LR_UNROLL
        for (int n = 0; n < kColumns / 8; ++n) delta.GetTwo(from + 8 * n + 2 * t, of_query[n]);
        ForScores<kFragments, kColumns>([&](int m, int n, int e) {
          ds[m][n][e] = s[m][n][e] * (ds[m][n][e] - of_query[n][e % 2]);
        });
        HideGradients<Layer, true, false>(p, view, hidden, i_0, j_0 + row, ds);
        AddScoreProducts<Layer, Math, kHeadDim, kFragments, kColumns, Layout<kHeadDim>>(
            s, o_gradient, from, dv);
        if constexpr (Params::kAddsQueries) PutScores(of_queries, column, ds);
        AddScoreProducts<Layer, Math, kHeadDim, kFragments, kColumns, Layout<kHeadDim>>(ds, q, from,
                                                                                        dk);
        if constexpr (Params::kHasKeyBias) {
          if (p.d_key_bias.data != nullptr) {
            float sign = 1.0F;
            if constexpr (Params::kIsTwoSided) sign = -sides.Sign(ds);
            Base::AddRowSums(ds, sign, bias_sums);
          }
        }
      }
      if constexpr (Params::kAddsQueries) Layer::Barrier();  // all warps have put their scores
      if constexpr (kKeepsAside) {
        tile = aside.Get(kTwoTiles + 2 * place);
        next = aside.Get(kTwoTiles + 2 * place + 1);
        b = aside.Get(kSequence);
        h_kv = aside.Get(kKeyHead);
        j_0 = aside.Get(kFirstKey);
      }
      if constexpr (Params::kAddsQueries) {
        AddQueries(p, b, HeadOf(p, h_kv, tile), tile % p.n_query_tile, k, of_queries, factors,
                   place * kTileRows);
      }
      if constexpr (Params::kHasKeyBias) {
        const int h = HeadOf(p, h_kv, tile), next_h = HeadOf(p, h_kv, next);
        if (next_h != h) {
          WriteBiasSums(p, b, h, next_h, OwnKey(j_0), bias_sums);
          if (next < tile_end) PutKeyBias(p, b, next_h, j_0, bias);
        }
      }
      if (next < tile_end) put_numbers(next, 1 - place);
      tile = next;
    }

    const float k_factors[2] = {p.product_scale, p.product_scale}, v_factors[2] = {1.0F, 1.0F};
    LR_UNROLL
    for (int m = 0; m < kFragments; ++m) {
      const int at = j_0 + own.row + 16 * m;
      StoreRows<Layer, Math, kHeadDim>(p, p.dk, b, h_kv, at, p.n_key, 0, k_factors, dk[m]);
      StoreRows<Layer, Math, kHeadDim>(p, p.dv, b, h_kv, at, p.n_key, 0, v_factors, dv[m]);
    }
  }

  static LR_DEVICE float FactorOf(const Params& p, int b, int h, int i) {
    if (i >= p.n_query) return 1.0F;
    return p.of_queries.factors[(static_cast<std::int64_t>(b) * p.n_head + h) * p.n_query + i];
  }
  // Puts ds of the warp's keys, and of queries from `column` of the tile, where all warps read it.
  static LR_DEVICE void PutScores(const Tile& of_queries, int column,
                                  const float (&ds)[kFragments][kColumns / 8][4]) {
    const int thread = Layer::Opaque(Layer::Thread()), g = thread % 32 / 4, t = thread % 4;
    const int row = thread / 32 * kWarpRows;
    LR_UNROLL
    for (int m = 0; m < kFragments; ++m) {
      LR_UNROLL
      for (int n = 0; n < kColumns / 8; ++n) {
        LR_UNROLL
        for (int half = 0; half < 2; ++half) {
          of_queries.SetPair(
              Scores::At(row + 16 * m + 8 * half + g, column + 8 * n + 2 * t),
              Math::template Pack<Layer>(ds[m][n][2 * half], ds[m][n][2 * half + 1]));
        }
      }
    }
  }
  // Adds the products of ds and the block's keys to the sums of a tile of queries.
  static LR_DEVICE void AddQueries(const Params& p, int b, int h, int tile, const Tile& k,
                                   const Tile& of_queries, const Numbers& factors, int from) {
    using Part = QueryPart<Layer, kHeadDim>;
    const std::int64_t head = static_cast<std::int64_t>(b) * p.n_head + h;
    const int thread = Layer::Opaque(Layer::Thread()), g = thread % 32 / 4;
    const int first = Part::FirstRow(thread);
    auto* const sums =
        p.of_queries.sums + (head * p.n_query_tile + tile) * Part::kTileSums + thread;
    for (int pass = 0; pass < Part::kPasses; ++pass) {
      auto* const of_pass = sums + pass * Part::kPassSums;
      const int channel = Part::FirstChannel(thread, pass);
      float dq[Part::kFragments][Part::kColumns / 8][4] = {};
      // All eight steps at once would spill registers.
      LR_UNROLL_BY_FOUR
      for (int j = 0; j < kBlockRows; j += 16) {
        std::uint32_t a[Part::kFragments][4], operand[Part::kColumns / 8][2];
        LR_UNROLL
        for (int m = 0; m < Part::kFragments; ++m) {
          Layer::template LoadATransposed<Scores>(of_queries, j, first + 16 * m, a[m]);
        }
        LoadOperandsTransposed<Layer, Layout<kHeadDim>, Part::kColumns>(k, j, channel, operand);
        LR_UNROLL
        for (int m = 0; m < Part::kFragments; ++m) {
          Layer::template Mma<Math::kScalar, Part::kColumns / 8>(dq[m], a[m], operand);
        }
      }
      LR_UNROLL
      for (int m = 0; m < Part::kFragments; ++m) {
        LR_UNROLL
        for (int half = 0; half < 2; ++half) {
          const int row = first + 16 * m + 8 * half + g;
          float factor = 1.0F;
          if constexpr (Params::kAddsIntegers) factor = factors.Get(from + row);
          bool fits = true;
          LR_UNROLL
          for (int n = 0; n < Part::kColumns / 8; ++n) {
            LR_UNROLL
            for (int e = 2 * half; e < 2 * half + 2; ++e) {
              const float part = dq[m][n][e] * factor;
              if constexpr (Params::kAddsIntegers) {
                fits = fits && QuerySums::Fits(part);
                Layer::AtomicAdd(of_pass + Part::SumOf(m, n, e), Layer::RoundedToInt(part));
              } else {
                Layer::AtomicAdd(of_pass + Part::SumOf(m, n, e), part);
              }
            }
          }
          if constexpr (Params::kAddsIntegers) {
            const int i = tile * kTileRows + row;
            if (!fits && i < p.n_query) {
              Layer::AtomicOr(p.of_queries.is_infinite + head * p.n_query + i, 1);
            }
          }
        }
      }
    }
  }

  // The thread's first key, of those from j_0, for the loop, which has no register to keep it in.
  static LR_DEVICE int OwnKey(int j_0) {
    const int thread = Layer::Opaque(Layer::Thread());
    return j_0 + thread / 32 * kWarpRows + thread % 32 / 4;
  }
  // What is subtracted from the biases of a block's keys, and from the lse of their queries or, if
  // the bias is two-sided, from their biases.
  static LR_DEVICE double KeyAnchor(const Params& p, int b, int h, int j_0) {
    return Params::kHasKeyBias ? KeyNumber(p, b, h, Layer::Opaque(j_0)) : 0.0;
  }
  static LR_DEVICE void PutKeyBias(const Params& p, int b, int h, int j_0, const Bias& bias) {
    bias.PutRows(p, b, h, OwnKey(j_0), KeyAnchor(p, b, h, j_0));
  }
  static LR_DEVICE void GetKeyBias(const Bias& bias, float (&of_key)[kFragments][2]) {
    const int thread = Layer::Opaque(Layer::Thread());
    LR_UNROLL
    for (int m = 0; m < kFragments; ++m) {
      LR_UNROLL
      for (int half = 0; half < 2; ++half) of_key[m][half] = bias.OfRow(2 * m + half, thread);
    }
  }
  static LR_DEVICE void ClearBiasSums(const Sums& sums) {
    for (int at = Layer::Thread(); at < kSumSlots; at += kThreads) sums.Set(at, 0.0);
  }
  // Writes the sums of head h, for the thread's keys from j on, and 0 for the heads after it before
  // h_end; then begins new sums. If the bias is two-sided, a key at which a query is also has the
  // query's.
  static LR_DEVICE void WriteBiasSums(const Params& p, int b, int h, int h_end, int j,
                                      const Sums& sums) {
    if (p.d_key_bias.data == nullptr) return;
    LR_ROLL
    for (; h < h_end; ++h) {
      const std::int64_t head = static_cast<std::int64_t>(b) * p.n_head + h;
      LR_ROLL
      for (int m = 0; m < kFragments; ++m) {
        double of_keys[2] = {sums.Get(Base::SlotOf(m, 0)), sums.Get(Base::SlotOf(m, 1))};
        Layer::QuadSum(of_keys);
        LR_UNROLL
        for (int half = 0; half < 2; ++half) {
          const int own = j + 16 * m + 8 * half;
          if (Layer::Thread() % 4 != 0 || own >= p.n_key) continue;
          double sum = of_keys[half];
          if constexpr (Params::kIsTwoSided) {
            const int i = own - p.distance;
            if (i >= 0 && i < p.n_query) sum += p.query_bias[head * p.n_query + i];
          }
          WriteNumber(p.d_key_bias, head * p.n_key + own, sum);
        }
      }
      ClearBiasSums(sums);
    }
  }
};

}  // namespace gpu
}  // namespace longrun
