// The gradients by distance of bf16 calls with few terms: of a distance table, and of FIRE's psi. A
// block owns one diagonal of squares of 128 queries and as many keys of one head, and computes the
// gradients of their scores again. On a diagonal, query minus key is the same for the same pair of
// every square, so that a thread adds up its pairs in registers, and the block combines the sums of
// its threads only once, at the end: those of a warp in fp32, and the warps in fp64.
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
  static_assert(kParts % 2 == 0);  // the first part of each square has the same place
  // The operands of a square's queries stay in registers, unless heads are wide.
  static constexpr bool kKeepsQueries = kHeadDim <= 64;
  using Queries = std::uint32_t[kKeepsQueries ? kSteps : 1][kFragments][4];
  using Bias = TileBias<Layer, Params, false, kBlockRows, kBlockRows>;
  using Scores = float[kFragments][kColumns / 8][4];
  // A thread's scores in fragments on one diagonal have the same two distances: those of even
  // columns and of odd ones. So many diagonals of fragments have kColumns columns, and a square.
  static constexpr int kColumnDiagonals = 2 * kFragments + kColumns / 8 - 1;
  static constexpr int kSquareDiagonals = 2 * kFragments + kBlockRows / 8 - 1;
  using Sums = float[kSquareDiagonals][2];
  static constexpr int kDistances = 2 * kBlockRows - 1;  // of a square
  // Where the threads exchange their sums. Lanes that read one distance after the other then read
  // from different banks.
  static constexpr int kSumStride = kThreads + 1;
  static constexpr int kSumBytes = 4 * 2 * kSquareDiagonals * kSumStride;
  static constexpr int kQueryBytes = 2 * 2 * kBlockRows * kHeadDim;
  static_assert(kSumBytes <= kQueryBytes);

  static int SharedBytes(const Params& /*p*/) {
    return kQueryBytes + 2 * 4 * kTileRows * kHeadDim + Bias::kBytes + 4 * 2 * kBlockRows;
  }
  static std::int64_t Blocks(const Params& p) {
    return static_cast<std::int64_t>(p.batch) * p.n_head * p.Diagonals();
  }

  // What a block owns. The squares of its diagonal are numbered by their queries, and `end`
  // comes after the last one.
  struct OwnDiagonal {
    int b, h, h_kv, difference, end;
    std::int64_t sums;  // where those of its distances are
  };
  static LR_DEVICE OwnDiagonal Own(const Params& p) {
    const int n_diagonal = p.Diagonals(), n_key_square = p.Squares(p.n_key);
    const std::int64_t n_walked = static_cast<std::int64_t>(p.n_query) + p.n_key;
    const auto [head, rank] =
        LongestFirst<Layer, kHeadDim>(n_diagonal, p.batch * p.n_head, n_walked);
    const int difference = DifferenceOf(p, rank);
    const int diagonal = difference + n_key_square - 1;
    return {head / p.n_head,
            head % p.n_head,
            head % p.n_head / p.group,
            difference,
            Min(p.Squares(p.n_query), n_key_square + difference),
            (static_cast<std::int64_t>(head) * n_diagonal + diagonal) * kDistances};
  }
  // The diagonals by falling length: first all of the greatest length, then one on either side of
  // them in turn.
  static LR_DEVICE int DifferenceOf(const Params& p, int rank) {
    const int more = p.Squares(p.n_query) - p.Squares(p.n_key);
    const int first = Min(0, more), last = Max(0, more);
    const int beyond = first + rank - last;
    if (beyond <= 0) return first + rank;
    return beyond % 2 != 0 ? last + (beyond + 1) / 2 : first - beyond / 2;
  }

  static LR_DEVICE void Run(const Params& p) {
    const OwnDiagonal own = Own(p);
    const int b = own.b, h = own.h, difference = own.difference;

    typename Layer::Arena arena;
    const Tile q = arena.template Take<std::uint16_t>(kBlockRows * kHeadDim);
    const Tile o_gradient = arena.template Take<std::uint16_t>(kBlockRows * kHeadDim);
    const Tile k = arena.template Take<std::uint16_t>(2 * kTileRows * kHeadDim);
    const Tile v = arena.template Take<std::uint16_t>(2 * kTileRows * kHeadDim);
    Bias bias(arena);
    const Numbers lse = arena.template Take<float>(kBlockRows);
    const Numbers delta = arena.template Take<float>(kBlockRows);

    const auto copy_part = [&](int j_0, int part) {
      const int begin = j_0 + part * kTileRows, to = (part & 1) * kTileRows;
      CopyTile<Layer, kHeadDim, kTileRows>(p, p.k[0], b, own.h_kv, begin, p.n_key, k, to);
      CopyTile<Layer, kHeadDim, kTileRows>(p, p.v, b, own.h_kv, begin, p.n_key, v, to);
    };
    int square = FirstSquare(p, own);
    if (square >= own.end) {
      WriteZeros(p, own);
      return;
    }
    bias.Read(p, b, h, difference * kBlockRows, 0, 0.0);
    bias.Put(0);
    copy_part((square - difference) * kBlockRows, 0);
    Sums sums = {};
    Queries of_q = {};
    while (square < own.end) {
      int next = own.end;
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
          next = NextSquare(p, own, square + 1);
          if (next < own.end) copy_part((next - difference) * kBlockRows, 0);
        }
        Layer::CommitCopies();
        if constexpr (kKeepsQueries) {
          if (part == 0) LoadQueries(q, of_q);
        }
        for (int column = 0; column < kTileRows; column += kColumns) {
          const int square_column = part * kTileRows + column;
          const int from = (part & 1) * kTileRows + column;
          const int thread = Layer::Opaque(Layer::Thread());
          const int row = thread / 32 * kWarpRows;
          const TileView view = ViewOf(p, b, i_0 + row, kWarpRows, j_0 + square_column, kColumns);
          if (view.is_hidden) continue;
          Scores s = {}, ds = {};
          if constexpr (kKeepsQueries) {
            AddQueryProducts(of_q, k, from, s);
          } else {
            AddTileProducts(q, row, k, from, s);
          }
          const SegmentRange range = AddBias(p, bias, Layer::Opaque(h), i_0, row, square_column, s);
          const std::uint32_t hidden =
              HideScores<Layer, false, true>(p, view, b, i_0 + row, j_0 + square_column, s);
          Exponentiate(p, lse, row, s);
          AddTileProducts(o_gradient, row, v, from, ds);
          SubtractDelta(delta, row, s, ds);
          HideGradients<Layer, false, true>(p, view, hidden, i_0 + row, j_0 + square_column, ds);
          AddPairs(p, bias, Layer::Opaque(h), range, Layer::Opaque(i_0), row, square_column, ds,
                   sums);
        }
      }
      square = next;
    }
    WriteTotals(p, own, sums);
  }

  // The first square that may have a visited pair; `end`: none. For most hidden diagonals, this is
  // known without looking at each square.
  static LR_DEVICE int FirstSquare(const Params& p, const OwnDiagonal& own) {
    const int middle = p.distance + own.difference * kBlockRows;
    const int nearest = middle - (kBlockRows - 1), farthest = middle + (kBlockRows - 1);
    if (p.causal != 0 && farthest < 0) return own.end;
    if (p.window > 0 && p.n_sink == 0 && (nearest >= p.window || farthest <= -p.window)) {
      return own.end;
    }
    return NextSquare(p, own, Max(0, own.difference));
  }
  // The same, of those from `square` on.
  static LR_DEVICE int NextSquare(const Params& p, const OwnDiagonal& own, int square) {
    static_assert(kBlockRows % kSkipTile == 0);
    LR_ROLL
    for (; square < own.end; ++square) {
      const int i_0 = square * kBlockRows, j_0 = (square - own.difference) * kBlockRows;
      if (ViewOf(p, own.b, i_0, kBlockRows, j_0, kBlockRows).is_hidden) continue;
      if (FirstKey(p, own.b, own.h, i_0) <= j_0) break;
    }
    return square;
  }
  static LR_DEVICE void PutStatistics(const Params& p, int b, int h, int i_0, const Numbers& lse,
                                      const Numbers& delta) {
    static_assert(kBlockRows == kThreads);
    const QueryStatistics query = QueryStatistics::Of(p, b, h, i_0 + Layer::Thread(), 0.0);
    lse.Set(Layer::Thread(), query.lse);
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
  static LR_DEVICE void AddQueryProducts(const Queries& of_q, const Tile& k, int from, Scores& s) {
    LR_UNROLL
    for (int step = 0; step < kSteps; ++step) {
      AddFragmentProducts<Layer, Math, kHeadDim, kFragments, kColumns>(of_q[step], k, from,
                                                                       16 * step, s);
    }
  }
  // s += a b^T. The warp's rows begin at `row` of a, and its columns at row `from` of b.
  static LR_DEVICE void AddTileProducts(const Tile& a, int row, const Tile& b, int from,
                                        Scores& s) {
    LR_UNROLL
    for (int step = 0; step < kSteps; ++step) {
      std::uint32_t operand[kFragments][4];
      LoadFragments<Layer, kHeadDim, kFragments>(a, row, 16 * step, operand);
      AddFragmentProducts<Layer, Math, kHeadDim, kFragments, kColumns>(operand, b, from, 16 * step,
                                                                       s);
    }
  }
  // Products become scores. Returns the segments of FIRE's function that some of them lie in.
  static LR_DEVICE SegmentRange AddBias(const Params& p, const Bias& bias, int h, int i_0, int row,
                                        int square_column, Scores& s) {
    const auto row_factors = RowFactorsOf<Layer, kFragments, kColumns>(p, i_0 + row);
    SegmentRange range;
    if constexpr (Params::kHasPieces) {
      const int thread = Layer::Opaque(Layer::Thread());
      range = bias.template SegmentsOf<kFragments, kColumns>(p, thread, 0, row, square_column,
                                                             row_factors);
      bias.template AddSegments<kFragments, kColumns>(p, h, range, thread, 0, row, square_column,
                                                      row_factors, s);
    } else {
      bias.template Add<kFragments, kColumns>(p, h, 0, row, square_column, row_factors, s);
    }
    return range;
  }
  // Scores become probabilities.
  static LR_DEVICE void Exponentiate(const Params& p, const Numbers& lse, int row, Scores& s) {
    const int g = Layer::Thread() % 32 / 4;
    ForScores<kFragments, kColumns>([&](int m, int n, int e) {
      const float of_row = lse.Get(row + 16 * m + 8 * (e / 2) + g);
      s[m][n][e] = Layer::Exp2(s[m][n][e] * ScaleOf(p) - of_row);
    });
  }
  // Gradients of the probabilities, s, become those of the scores.
  static LR_DEVICE void SubtractDelta(const Numbers& delta, int row, const Scores& s, Scores& ds) {
    const int g = Layer::Thread() % 32 / 4;
    ForScores<kFragments, kColumns>([&](int m, int n, int e) {
      const float of_row = delta.Get(row + 16 * m + 8 * (e / 2) + g);
      ds[m][n][e] = s[m][n][e] * (ds[m][n][e] - of_row);
    });
  }
  // Adds the gradients of a warp's pairs to the sums of their distances. For psi, those are
  // multiplied by the slope of the pair's segment and the factor of its row.
  static LR_DEVICE void AddPairs(const Params& p, const Bias& bias, int h,
                                 const SegmentRange& range, int i_0, int row, int square_column,
                                 const Scores& ds, Sums& sums) {
    float of_columns[kColumnDiagonals][2] = {};
    const auto sum_of = [&](int m, int n, int e) -> float& {
      return of_columns[2 * m + e / 2 - n + kColumns / 8 - 1][e % 2];
    };
    if constexpr (Params::kHasPieces) {
      const auto row_factors = RowFactorsOf<Layer, kFragments, kColumns>(p, i_0 + row);
      const int thread = Layer::Opaque(Layer::Thread());
      Bias::ForSegments(p, h, range, [&](const Segment& segment) {
        bias.template ForDistances<kFragments, kColumns>(
            thread, 0, row, square_column, [&](int m, int n, int e, float psi) {
              const float factor = row_factors.Get(m, n, e);
              if (!segment.Has(psi * factor)) return;
              sum_of(m, n, e) += ds[m][n][e] * (segment.slope * factor);
            });
      });
    } else {
      ForScores<kFragments, kColumns>([&](int m, int n, int e) { sum_of(m, n, e) += ds[m][n][e]; });
    }
    // Registers cannot be indexed at run time, so each column has its own copy of the loop.
    LR_UNROLL
    for (int column = 0; column < kBlockRows; column += kColumns) {
      if (column != square_column) continue;
      LR_UNROLL
      for (int diagonal = 0; diagonal < kColumnDiagonals; ++diagonal) {
        LR_UNROLL
        for (int e = 0; e < 2; ++e) {
          sums[diagonal + (kBlockRows - kColumns - column) / 8][e] += of_columns[diagonal][e];
        }
      }
    }
  }

  // The sums of the diagonal. Slopes of psi are in base 2.
  static constexpr double kFactor = Params::kHasPieces ? kLn2 : 1.0;
  static LR_DEVICE double* SumsOf(const Params& p, const OwnDiagonal& own) {
    return (Params::kHasPieces ? p.psi_sums : p.distance_sums) + own.sums;
  }
  static LR_DEVICE void WriteZeros(const Params& p, const OwnDiagonal& own) {
    LR_UNROLL
    for (int n = 0; n < 2; ++n) {
      const int distance = Layer::Thread() + n * kThreads;
      if (distance < kDistances) SumsOf(p, own)[distance] = 0.0;
    }
  }
  // Adds up what the threads have of each distance, always in the same order.
  static LR_DEVICE void WriteTotals(const Params& p, const OwnDiagonal& own, const Sums& sums) {
    static_assert(kDistances <= 2 * kThreads);
    typename Layer::Arena arena;  // the tiles are no longer needed
    const Numbers exchanged = arena.template Take<float>(2 * kSquareDiagonals * kSumStride);
    const auto at = [](int diagonal, int e) {
      return (e * kSquareDiagonals + diagonal) * kSumStride;
    };
    Layer::Barrier();  // the tiles have been read
    LR_UNROLL
    for (int diagonal = 0; diagonal < kSquareDiagonals; ++diagonal) {
      LR_UNROLL
      for (int e = 0; e < 2; ++e) {
        exchanged.Set(at(diagonal, e) + Layer::Thread(), sums[diagonal][e]);
      }
    }
    Layer::Barrier();
    LR_UNROLL
    for (int n = 0; n < 2; ++n) {
      const int distance = Layer::Thread() + n * kThreads;
      double total = 0.0;
      LR_UNROLL
      for (int warp = 0; warp < kWarps; ++warp) {
        float of_warp = 0.0F;
        LR_UNROLL
        for (int t = 0; t < 4; ++t) {
          LR_UNROLL
          for (int e = 0; e < 2; ++e) {
            // The sum of a diagonal is that of 8 diagonal + g - 2t - e + 7 + kWarpRows warp.
            const int within = distance - 7 - kWarpRows * warp + 2 * t + e;
            if (within < 0 || within >= 8 * kSquareDiagonals) continue;
            of_warp += exchanged.Get(at(within / 8, e) + 32 * warp + 4 * (within % 8) + t);
          }
        }
        total += static_cast<double>(of_warp);
      }
      if (distance < kDistances) SumsOf(p, own)[distance] = total * kFactor;
    }
  }
};

}  // namespace gpu
}  // namespace longrun
