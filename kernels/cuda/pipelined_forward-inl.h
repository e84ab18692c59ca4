// Forward for bf16 and fp16 calls with few terms: a block owns 128 queries of one head, and walks
// the tiles of 64 keys from the nearest to the oldest. A warp owns 32 of the queries. The softmax
// is in base 2. Its reference follows the running maximum lazily: o is multiplied only if a row's
// maximum has grown to more than 2^kGrowth times what it was, so probabilities reach 2^kGrowth.
#pragma once

#include "kernels/cuda/pipeline-inl.h"

namespace longrun {
namespace gpu {

template <typename TheLayer, typename TheShape>
struct PipelinedForwardKernel : PipelinedKernel<TheLayer, TheShape, 2> {
  using Base = PipelinedKernel<TheLayer, TheShape, 2>;
  using Base::kHeadDim, Base::kFragments, Base::kWarpRows, Base::kBlockRows, Base::kSteps;
  using typename Base::Layer, typename Base::Math, typename Base::Params, typename Base::Tile;
  // What finds hidden pairs takes registers, and so do the row factors of pieces and the biases of
  // rows.
  static constexpr int kColumns =
      kHeadDim <= 64 && !Params::kHasMask && !Params::kHasPieces && !Params::kIsTwoSided ? 64 : 32;
  static constexpr float kGrowth = 8.0F;
  // Queries of wider heads do not fit into registers beside o.
  static constexpr bool kQueriesStay = kHeadDim <= 64;
  // With low parts of q and k, their products are as exact as those of fp32 rows.
  static constexpr bool kHasLow = Params::kHasLow;
  using Bias = TileBias<Layer, Params, false, kBlockRows, kColumns>;

  static int SharedBytes(const Params& /*p*/) {
    constexpr int kParts = kHasLow ? 2 : 1;
    return 2 * kHeadDim * (kParts * kBlockRows + (kParts + 1) * 2 * kColumns) + Bias::kBytes;
  }
  static std::int64_t Blocks(const Params& p) {
    return static_cast<std::int64_t>(p.batch) * p.n_head * Base::Tiles(p.n_query);
  }

  static LR_DEVICE void Run(const Params& p) {
    const auto own = Base::template Own<true>(p.n_query, p.n_head, p.batch * p.n_head, p.n_key);
    const int b = own.b, h = own.h, h_kv = h / p.group, i_0 = own.first;

    typename Layer::Arena arena;
    const Tile q = arena.template Take<std::uint16_t>(kBlockRows * kHeadDim);
    const Tile q_low = arena.template Take<std::uint16_t>(kHasLow ? kBlockRows * kHeadDim : 0);
    const Tile k = arena.template Take<std::uint16_t>(2 * kColumns * kHeadDim);
    const Tile k_low = arena.template Take<std::uint16_t>(kHasLow ? 2 * kColumns * kHeadDim : 0);
    const Tile v = arena.template Take<std::uint16_t>(2 * kColumns * kHeadDim);
    Bias bias(arena);
    const double anchor = AnchorOf(p, b, h, i_0);

    const KeyTiles<Layer, Params, kColumns> tiles(p, b, h, i_0, kBlockRows);
    std::uint32_t a[kQueriesStay ? kSteps : 1][kFragments][4];
    if (tiles.n > 0) {
      CopyTile<Layer, kHeadDim, kBlockRows>(p, p.q[0], b, h, i_0, p.n_query, q, 0);
      if constexpr (kHasLow) {
        CopyTile<Layer, kHeadDim, kBlockRows>(p, LowOf(p.q[0]), b, h, i_0, p.n_query, q_low, 0);
      }
      Layer::CommitCopies();
      CopyKeys<Layer, kHeadDim, kColumns>(p, b, h_kv, tiles.n - 1, k, k_low, v);
      bias.PutRows(p, b, h, i_0 + own.row + Layer::Thread() % 32 / 4, anchor);
      bias.Read(p, b, h, i_0, (tiles.n - 1) * kColumns, anchor);
      bias.Put((tiles.n - 1) & 1);
      Layer::template WaitCopies<1>();
      if constexpr (kQueriesStay) {
        Layer::Barrier();
        LR_UNROLL
        for (int step = 0; step < kSteps; ++step) {
          LoadFragments<Layer, kHeadDim, kFragments>(q, own.row, 16 * step, a[step]);
        }
      }
    }

    float o[kFragments][kHeadDim / 8][4] = {};
    float largest[kFragments][2], sums[kFragments][2] = {};
    LR_UNROLL
    for (int m = 0; m < kFragments; ++m) largest[m][0] = largest[m][1] = kHidden;
    for (int key_tile = tiles.n - 1; key_tile >= tiles.first; key_tile = tiles.Next(key_tile)) {
      const int j_0 = key_tile * kColumns, place = key_tile & 1;
      Layer::template WaitCopies<0>();
      Layer::Barrier();  // the tile has arrived, and the one before has been read
      if (key_tile > tiles.first) {
        CopyKeys<Layer, kHeadDim, kColumns>(p, b, h_kv, tiles.Next(key_tile), k, k_low, v);
      }
      const auto read_next_bias = [&] {
        const int next = tiles.Next(key_tile) * kColumns;
        if (key_tile > tiles.first) bias.Read(p, b, h, i_0, next, anchor);
      };
      const int row = Base::RowAgain(own.row);
      const TileView view = ViewOf(p, b, i_0 + row, kWarpRows, j_0, kColumns);
      if (view.is_hidden) {
        read_next_bias();
      } else {
        float s[kFragments][kColumns / 8][4] = {};
        LR_UNROLL
        for (int step = 0; step < kSteps; ++step) {
          std::uint32_t(&of_step)[kFragments][4] = a[kQueriesStay ? step : 0];
          if constexpr (!kQueriesStay) {
            LoadFragments<Layer, kHeadDim, kFragments>(q, row, 16 * step, of_step);
          }
          const auto add = [&](const std::uint32_t(&of_q)[kFragments][4], const Tile& of_k) {
            AddFragmentProducts<Layer, Math, kHeadDim, kFragments, kColumns>(
                of_q, of_k, place * kColumns, 16 * step, s);
          };
          add(of_step, k);
          if constexpr (kHasLow) {
            add(of_step, k_low);
            std::uint32_t low[kFragments][4];
            LoadFragments<Layer, kHeadDim, kFragments>(q_low, row, 16 * step, low);
            add(low, k);
          }
        }
        if constexpr (Params::kIsTwoSided) {
          const Sides<Layer, false, kFragments, kColumns> sides{p.distance + i_0 + row - j_0};
          bias.AddTwoSided(p, place, 0, sides, s);
        } else {
          const auto factors = RowFactorsOf<Layer, kFragments, kColumns>(p, i_0 + row);
          bias.template Add<kFragments, kColumns>(p, h, place, row, 0, factors, s);
        }
        HideScores<Layer, false, false>(p, view, b, i_0 + row, j_0, s);
        Softmax(p, s, largest, sums, o);
        read_next_bias();
        AddScoreProducts<Layer, Math, kHeadDim, kFragments, kColumns>(s, v, place * kColumns, o);
      }
      if (key_tile > tiles.first) bias.Put(1 - place);
    }

    LR_UNROLL
    for (int m = 0; m < kFragments; ++m) {
      Layer::QuadSum(sums[m]);
      const int first = i_0 + own.row + 16 * m;
      float factors[2];
      LR_UNROLL
      for (int half = 0; half < 2; ++half) {
        const float sum = sums[m][half];
        factors[half] = sum == 0.0F ? 0.0F : 1.0F / sum;
        const int i = first + Layer::Thread() % 32 / 4 + 8 * half;
        if (i < p.n_query && Layer::Thread() % 4 == 0) {
          const double lse = sum == 0.0F ? static_cast<double>(kHidden)
                                         : LseAnchor(p, anchor) +
                                               static_cast<double>(largest[m][half]) * kLn2 +
                                               Layer::Log(static_cast<double>(sum));
          WriteNumber(p.lse, static_cast<std::int64_t>(own.head) * p.n_query + i, lse);
        }
      }
      StoreRows<Layer, Math, kHeadDim>(p, p.o, b, h, first, p.n_query, 0, factors, o[m]);
    }
  }

  // Scores become probabilities, but for a factor of each row, which the sums have as well.
  static LR_DEVICE void Softmax(const Params& p, float (&s)[kFragments][kColumns / 8][4],
                                float (&largest)[kFragments][2], float (&sums)[kFragments][2],
                                float (&o)[kFragments][kHeadDim / 8][4]) {
    const float scale = ScaleOf(p);
    float reference[kFragments][2], factor[kFragments][2];
    bool has_grown = false;
    LR_UNROLL
    for (int m = 0; m < kFragments; ++m) {
      // A NaN is not a maximum here; it comes back as a probability.
      float tile_largest[2] = {kHidden, kHidden};
      LR_UNROLL
      for (int n = 0; n < kColumns / 8; ++n) {
        LR_UNROLL
        for (int e = 0; e < 4; ++e) {
          tile_largest[e / 2] = Larger(tile_largest[e / 2], s[m][n][e]);
        }
      }
      Layer::QuadMax(tile_largest);
      LR_UNROLL
      for (int half = 0; half < 2; ++half) {
        const float before = largest[m][half];
        float now = tile_largest[half] * scale;
        if constexpr (Math::kHeadroom > 0) now -= Math::kHeadroom;
        const bool grows = now > before + kGrowth;
        has_grown = has_grown || grows;
        if (grows) largest[m][half] = now;
        reference[m][half] = largest[m][half] == kHidden ? 0.0F : largest[m][half];
        factor[m][half] = Layer::Exp2(before - reference[m][half]);
      }
    }
    // The factor of a row that has not grown is 1, so rows do not depend on each other.
    if (Layer::WarpAny(has_grown)) {
      LR_UNROLL
      for (int m = 0; m < kFragments; ++m) {
        LR_UNROLL
        for (int half = 0; half < 2; ++half) sums[m][half] *= factor[m][half];
        LR_UNROLL
        for (int n = 0; n < kHeadDim / 8; ++n) {
          LR_UNROLL
          for (int e = 0; e < 4; ++e) o[m][n][e] *= factor[m][e / 2];
        }
      }
    }
    LR_UNROLL
    for (int m = 0; m < kFragments; ++m) {
      LR_UNROLL
      for (int n = 0; n < kColumns / 8; ++n) {
        LR_UNROLL
        for (int e = 0; e < 4; ++e) {
          const float x = Layer::Exp2(s[m][n][e] * scale - reference[m][e / 2]);
          sums[m][e / 2] += x;
          s[m][n][e] = x;
        }
      }
    }
  }
};

}  // namespace gpu
}  // namespace longrun
