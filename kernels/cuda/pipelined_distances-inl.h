// The gradients by distance of bf16 calls with few terms: of a distance table, and of FIRE's psi. A
// block owns one diagonal of squares of 128 queries and as many keys of one head, and computes the
// gradients of their scores again. On a diagonal, query minus key is the same for the same pair of
// every square, so that a thread adds up its pairs in registers, and the block brings the sums of
// its threads together only once, at the end.
#pragma once

#include "kernels/cuda/pipelined_backward-inl.h"

namespace longrun {
namespace gpu {

template <typename TheLayer, typename TheShape>
struct PipelinedDistanceKernel : PipelinedKernel<TheLayer, TheShape, 2> {
  using Base = PipelinedKernel<TheLayer, TheShape, 2>;
  using Base::kHeadDim, Base::kFragments, Base::kWarpRows, Base::kBlockRows, Base::kSteps;
  using typename Base::Layer, typename Base::Math, typename Base::Params, typename Base::Tile;
  using Numbers = typename Layer::template Shared<float>;
  // A square's keys come in parts, which have two places. Parts of wide heads are small, so that
  // two blocks fit into the shared memory of an SM.
  static constexpr int kTileRows = kHeadDim <= 64 ? 64 : 32, kColumns = 32;
  static constexpr int kParts = kBlockRows / kTileRows;
  // The operands of a square's queries stay in registers, unless heads are wide.
  static constexpr bool kKeepsQueries = kHeadDim <= 64;
  using Queries = std::uint32_t[kKeepsQueries ? kSteps : 1][kFragments][4];
  static_assert(kParts % 2 == 0);  // the first part of each square has the same place
  using Bias = TileBias<Layer, Params, false, kBlockRows, kBlockRows>;
  // A thread's fragments of scores on one diagonal have the same two distances: those of even
  // columns and of odd ones. So many diagonals have kColumns columns, and a whole square.
  static constexpr int kOfColumns = 2 * kFragments + kColumns / 8 - 1;
  static constexpr int kOfSquare = 2 * kFragments + kBlockRows / 8 - 1;
  using Sums = float[kOfSquare][2];
  static constexpr int kDistances = 2 * kBlockRows - 1;  // of a square
  static constexpr int kExchanged = 5;                   // diagonals, at once

  static int SharedBytes(const Params& /*p*/) {
    return 2 * kHeadDim * (2 * kBlockRows + 4 * kTileRows) + Bias::kBytes + 4 * 2 * kBlockRows +
           4 * 2 * kExchanged * kThreads;
  }
  static std::int64_t Blocks(const Params& p) {
    return static_cast<std::int64_t>(p.batch) * p.n_head * p.Diagonals();
  }

  static LR_DEVICE void Run(const Params& p) {
    const int n_diagonal = p.Diagonals(), n_key_square = Base::Tiles(p.n_key);
    const int head = static_cast<int>(Layer::Block() / n_diagonal);
    const int difference = static_cast<int>(Layer::Block() % n_diagonal) - (n_key_square - 1);
    const int b = head / p.n_head, h = head % p.n_head, h_kv = h / p.group;
    const int g = Layer::Thread() % 32 / 4;

    typename Layer::Arena arena;
    const Tile q = arena.template Take<std::uint16_t>(kBlockRows * kHeadDim);
    const Tile o_gradient = arena.template Take<std::uint16_t>(kBlockRows * kHeadDim);
    const Tile k = arena.template Take<std::uint16_t>(2 * kTileRows * kHeadDim);
    const Tile v = arena.template Take<std::uint16_t>(2 * kTileRows * kHeadDim);
    Bias bias(arena);
    const Numbers lse = arena.template Take<float>(kBlockRows);
    const Numbers delta = arena.template Take<float>(kBlockRows);
    const Numbers exchanged = arena.template Take<float>(2 * kExchanged * kThreads);

    const auto copy_part = [&](int j_0, int part) {
      const int begin = j_0 + part * kTileRows, to = (part & 1) * kTileRows;
      CopyTile<Layer, kHeadDim, kTileRows>(p, p.k[0], b, h_kv, begin, p.n_key, k, to);
      CopyTile<Layer, kHeadDim, kTileRows>(p, p.v, b, h_kv, begin, p.n_key, v, to);
    };
    // Squares of the diagonal are numbered by their queries.
    const int end = Min(Base::Tiles(p.n_query), n_key_square + difference);
    int square = NextSquare(p, b, h, difference, Max(0, difference), end);
    if (square < end) {
      bias.Read(p, b, h, difference * kBlockRows, 0, 0.0);
      bias.Put(0);
      copy_part((square - difference) * kBlockRows, 0);
    }
    Sums sums = {};
    Queries of_q = {};
    while (square < end) {
      int next = end;
      const int i_0 = square * kBlockRows, j_0 = (square - difference) * kBlockRows;
      Layer::Barrier();  // the queries before have been read
      CopyTile<Layer, kHeadDim, kBlockRows>(p, p.q[0], b, h, i_0, p.n_query, q, 0);
      CopyTile<Layer, kHeadDim, kBlockRows>(p, p.o_gradient, b, h, i_0, p.n_query, o_gradient, 0);
      Layer::CommitCopies();
      PutStatistics(p, b, h, i_0, lse, delta);
      for (int part = 0; part < kParts; ++part) {
        Layer::template WaitCopies<0>();
        Layer::Barrier();  // the part has arrived, and the one before has been read
        if (part + 1 < kParts) {
          copy_part(j_0, part + 1);
        } else {
          next = NextSquare(p, b, h, difference, square + 1, end);
          if (next < end) copy_part((next - difference) * kBlockRows, 0);
        }
        Layer::CommitCopies();
        if constexpr (kKeepsQueries) {
          if (part == 0) LoadQueries(q, of_q);
        }
        for (int column = 0; column < kTileRows; column += kColumns) {
          const int of_square = part * kTileRows + column, from = (part & 1) * kTileRows + column;
          const int thread = Layer::Opaque(Layer::Thread());
          const int row = thread / 32 * kWarpRows;
          const TileView view = ViewOf(p, b, i_0 + row, kWarpRows, j_0 + of_square, kColumns);
          if (view.is_hidden) continue;
          float s[kFragments][kColumns / 8][4] = {}, ds[kFragments][kColumns / 8][4] = {};
          if constexpr (kKeepsQueries) {
            AddQueryProducts(of_q, k, from, s);
          } else {
            AddTileProducts(q, row, k, from, s);
          }
          const auto row_factors = RowFactorsOf<Layer, kFragments, kColumns>(p, i_0 + row);
          SegmentRange range;
          if constexpr (Params::kHasPieces) {
            range = bias.template SegmentsOf<kFragments, kColumns>(p, thread, 0, row, of_square,
                                                                   row_factors);
            bias.template AddSegments<kFragments, kColumns>(p, Layer::Opaque(h), range, thread, 0,
                                                            row, of_square, row_factors, s);
          } else {
            bias.template Add<kFragments, kColumns>(p, Layer::Opaque(h), 0, row, of_square,
                                                    row_factors, s);
          }
          const std::uint32_t hidden =
              HideScores<Layer, false>(p, view, b, i_0 + row, j_0 + of_square, s);
          ForScores<kFragments, kColumns>([&](int m, int n, int e) {
            const float of_row = lse.Get(row + 16 * m + 8 * (e / 2) + g);
            s[m][n][e] = Layer::Exp2(s[m][n][e] * ScaleOf(p) - of_row);
          });
          AddTileProducts(o_gradient, row, v, from, ds);
          ForScores<kFragments, kColumns>([&](int m, int n, int e) {
            const float of_row = delta.Get(row + 16 * m + 8 * (e / 2) + g);
            ds[m][n][e] = s[m][n][e] * (ds[m][n][e] - of_row);
          });
          HideGradients<Layer, false>(p, view, hidden, i_0 + row, j_0 + of_square, ds);
          AddPairs(p, bias, Layer::Opaque(h), range, Layer::Opaque(i_0), row, of_square, ds, sums);
        }
      }
      square = next;
    }
    if constexpr (Params::kHasPieces) {
      Write(sums, exchanged, kLn2, p.psi_sums);  // slopes are in base 2
    } else {
      Write(sums, exchanged, 1.0, p.distance_sums);
    }
  }

  // The first square from `square` on with pairs that are visited; `end`: none.
  static LR_DEVICE int NextSquare(const Params& p, int b, int h, int difference, int square,
                                  int end) {
    static_assert(kBlockRows % kSkipTile == 0);
    LR_ROLL
    for (; square < end; ++square) {
      const int i_0 = square * kBlockRows, j_0 = (square - difference) * kBlockRows;
      if (ViewOf(p, b, i_0, kBlockRows, j_0, kBlockRows).is_hidden) continue;
      if (FirstKey(p, b, h, i_0) <= j_0) break;
    }
    return square;
  }
  // Queries that do not exist have an lse that makes their probabilities 0.
  static LR_DEVICE void PutStatistics(const Params& p, int b, int h, int i_0, const Numbers& lse,
                                      const Numbers& delta) {
    static_assert(kBlockRows == kThreads);
    const int i = i_0 + Layer::Thread();
    const QueryStatistics query = QueryStatistics::Of(p, b, h, i, 0.0);
    lse.Set(Layer::Thread(), i < p.n_query ? query.lse : -kHidden);
    delta.Set(Layer::Thread(), query.delta);
  }
  static LR_DEVICE void LoadQueries(const Tile& q, Queries& of_q) {
    const int row = Layer::Thread() / 32 * kWarpRows;
    LR_UNROLL
    for (int step = 0; step < kSteps; ++step) {
      LoadFragments<Layer, kHeadDim, kFragments>(q, row, 16 * step, of_q[step]);
    }
  }
  // s += q k^T
  static LR_DEVICE void AddQueryProducts(const Queries& of_q, const Tile& k, int from,
                                         float (&s)[kFragments][kColumns / 8][4]) {
    LR_UNROLL
    for (int step = 0; step < kSteps; ++step) {
      AddFragmentProducts<Layer, Math, kHeadDim, kFragments, kColumns>(of_q[step], k, from,
                                                                       16 * step, s);
    }
  }
  // s += a b^T. The warp's rows begin at `row` of a, and its columns at row `from` of b.
  static LR_DEVICE void AddTileProducts(const Tile& a, int row, const Tile& b, int from,
                                        float (&s)[kFragments][kColumns / 8][4]) {
    LR_UNROLL
    for (int step = 0; step < kSteps; ++step) {
      std::uint32_t operand[kFragments][4];
      LoadFragments<Layer, kHeadDim, kFragments>(a, row, 16 * step, operand);
      AddFragmentProducts<Layer, Math, kHeadDim, kFragments, kColumns>(operand, b, from, 16 * step,
                                                                       s);
    }
  }
  // Adds the gradients of a warp's pairs to the sums of their distances. For psi, those are
  // multiplied by the slope of the pair's segment and the factor of its row.
  static LR_DEVICE void AddPairs(const Params& p, const Bias& bias, int h,
                                 const SegmentRange& range, int i_0, int row, int of_square,
                                 const float (&ds)[kFragments][kColumns / 8][4], Sums& sums) {
    float of_columns[kOfColumns][2] = {};
    const auto sum_of = [&](int m, int n, int e) -> float& {
      return of_columns[2 * m + e / 2 - n + kColumns / 8 - 1][e % 2];
    };
    if constexpr (Params::kHasPieces) {
      const auto row_factors = RowFactorsOf<Layer, kFragments, kColumns>(p, i_0 + row);
      const int thread = Layer::Opaque(Layer::Thread());
      Bias::ForSegments(p, h, range, [&](const Segment& segment) {
        bias.template ForDistances<kFragments, kColumns>(
            thread, 0, row, of_square, [&](int m, int n, int e, float psi) {
              const float factor = row_factors.Get(m, n, e);
              if (!segment.Has(psi * factor)) return;
              sum_of(m, n, e) += ds[m][n][e] * (segment.slope * factor);
            });
      });
    } else {
      ForScores<kFragments, kColumns>([&](int m, int n, int e) { sum_of(m, n, e) += ds[m][n][e]; });
    }
    // Registers have no index that is computed.
    LR_UNROLL
    for (int column = 0; column < kBlockRows; column += kColumns) {
      if (column != of_square) continue;
      LR_UNROLL
      for (int diagonal = 0; diagonal < kOfColumns; ++diagonal) {
        LR_UNROLL
        for (int e = 0; e < 2; ++e) {
          sums[diagonal + (kBlockRows - kColumns - column) / 8][e] += of_columns[diagonal][e];
        }
      }
    }
  }
  // Adds up what the threads have of each distance, always in the same order.
  static LR_DEVICE void Write(const Sums& sums, const Numbers& exchanged, double factor,
                              double* to) {
    static_assert(kDistances <= 2 * kThreads);
    double totals[2] = {0.0, 0.0};  // of the distances Thread() and Thread() + kThreads
    LR_UNROLL
    for (int first = 0; first < kOfSquare; first += kExchanged) {
      Layer::Barrier();  // the diagonals before have been read
      LR_UNROLL
      for (int at = 0; at < kExchanged; ++at) {
        LR_UNROLL
        for (int e = 0; e < 2; ++e) {
          if (first + at >= kOfSquare) continue;
          exchanged.Set((2 * at + e) * kThreads + Layer::Thread(), sums[first + at][e]);
        }
      }
      Layer::Barrier();
      const int last = Min(first + kExchanged, kOfSquare) - 1;
      LR_UNROLL
      for (int n = 0; n < 2; ++n) {
        LR_ROLL
        for (int share = 0; share < 8 * kWarps; ++share) {
          const int warp = share / 8, t = share % 8 / 2, e = share % 2;
          // The thread's distance is g + 8 diagonal - 2t - e of this warp's rows, where diagonals
          // begin at the first one of the square. A square begins at distance -(kBlockRows - 1).
          const int within = Layer::Thread() + n * kThreads - 7 - kWarpRows * warp + 2 * t + e;
          if (within < 8 * first || within >= 8 * (last + 1)) continue;
          const int at = within / 8 - first, g = within % 8;
          totals[n] +=
              static_cast<double>(exchanged.Get((2 * at + e) * kThreads + 32 * warp + 4 * g + t));
        }
      }
    }
    LR_UNROLL
    for (int n = 0; n < 2; ++n) {
      const int distance = Layer::Thread() + n * kThreads;
      if (distance < kDistances) to[Layer::Block() * kDistances + distance] = totals[n] * factor;
    }
  }
};

}  // namespace gpu
}  // namespace longrun
