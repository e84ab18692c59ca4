// The backward pass. One work item is one key head of one sequence, with the query heads that read
// it. It walks the tiles of keys and, for each of them, the tiles of queries that visit it. The
// order of every sum is fixed, whatever the number of threads.
#if defined(LONGRUN_KERNELS_CPU_BACKWARD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LONGRUN_KERNELS_CPU_BACKWARD_INL_H_
#undef LONGRUN_KERNELS_CPU_BACKWARD_INL_H_
#else
#define LONGRUN_KERNELS_CPU_BACKWARD_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "hwy/highway.h"
#include "kernels/cpu/aligned.h"
#include "kernels/cpu/parts.h"
#include "kernels/cpu/plan.h"
#include "kernels/cpu/rows-inl.h"
#include "kernels/cpu/scores-inl.h"
#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace longrun {
namespace HWY_NAMESPACE {

// Gradients of numbers that the sequences of a batch share, kept separately for each (b, h): they
// are summed over b at the end, in order.
struct PartialGradients {
  PartialGradients(const AttentionPlan& plan, const AttentionBackwardCall& call)
      : n_head(plan.n_head),
        n_distance(call.d_distance_table.empty() ? 0 : plan.terms.distance_table->n_distance),
        n_segment(call.d_slope.empty() ? 0 : static_cast<std::int64_t>(plan.knots.size()) + 1),
        n_psi(call.d_psi.n),
        n_row_factor(call.d_row_factor.n) {
    const auto n = [&](std::int64_t each) {
      return static_cast<std::size_t>(plan.batch * plan.n_head * each);
    };
    distances.resize(n(n_distance));
    slope.resize(n(n_segment));
    intercept.resize(n(n_segment));
    psi.resize(n(n_psi));
    row_factor.resize(n(n_row_factor));
  }
  bool piecewise() const { return n_segment > 0 || n_psi > 0; }

  std::int64_t n_head, n_distance, n_segment, n_psi, n_row_factor;
  std::vector<double> distances, slope, intercept, psi, row_factor;  // (B H, n)
};

// Working memory for one key head with all its query heads.
struct BackwardRoom {
  explicit BackwardRoom(const AttentionPlan& plan)
      : n_row((plan.n_query + kRowBlock - 1) / kRowBlock * kRowBlock),
        rows_floats(plan.group * n_row * plan.width),
        room(3 * rows_floats + 2 * plan.group * n_row + kKeyTile * plan.width * 5 +
             2 * kQueryTile * kKeyTile + 2 * kKeyTile + plan.width),
        q(room.get()),
        o_gradient(q + rows_floats),
        dq(o_gradient + rows_floats),
        key_columns(dq + rows_floats),
        value_columns(key_columns + kKeyTile * plan.width),
        key_rows(value_columns + kKeyTile * plan.width),
        dk(key_rows + kKeyTile * plan.width),
        dv(dk + kKeyTile * plan.width),
        p(dv + kKeyTile * plan.width),
        ds(p + kQueryTile * kKeyTile),
        bias(ds + kQueryTile * kKeyTile),
        z(bias + kKeyTile),
        o(z + kKeyTile),
        lse(o + plan.width),
        delta(lse + plan.group * n_row) {}
  std::int64_t n_row, rows_floats;
  AlignedFloats room;
  float *q, *o_gradient, *dq;          // (group, n_row, width)
  float *key_columns, *value_columns;  // (D, kKeyTile)
  float* key_rows;                     // (kKeyTile, width)
  float *dk, *dv;                      // (kKeyTile, width)
  float *p, *ds;                       // (kQueryTile, kKeyTile)
  float *bias, *z;
  float* o;            // (width)
  float *lse, *delta;  // (group, n_row); lse in base 2, relative to the tile's anchor
};

// A query tile: where it begins, which keys its rows visited, and the anchor of its key bias.
struct VisitingTile {
  std::int64_t member = 0;  // query head within the group
  std::int64_t query_begin = 0;
  double anchor = 0.0;
  std::vector<KeyRange> ranges;
  TileRange tiles;
};

// The key ranges that forward visited: all ranges without the skipped keys.
std::vector<KeyRange> VisitedRanges(const AttentionPlan& plan, const AttentionBackwardCall& call,
                                    std::int64_t b, std::int64_t h, std::int64_t begin,
                                    std::int64_t end) {
  const std::span<const KeyRange> all = plan.Ranges(b, begin, end);
  std::vector<KeyRange> ranges(all.begin(), all.end());
  if (call.first_key.empty()) return ranges;
  const std::int64_t n_block = VisitedKeys::Count(plan.n_query);
  for (std::size_t r = 0; r < ranges.size(); ++r) {
    const std::int64_t block = (begin + static_cast<std::int64_t>(r)) / VisitedKeys::kQueries;
    const std::int32_t first =
        call.first_key[static_cast<std::size_t>((b * plan.n_head + h) * n_block + block)];
    ranges[r].begin = std::min(ranges[r].end, std::max(ranges[r].begin, first));
  }
  return ranges;
}

HWY_NOINLINE VisitingTile PrepareQueries(const AttentionPlan& plan,
                                         const AttentionBackwardCall& call, std::int64_t b,
                                         std::int64_t h, std::int64_t query_tile,
                                         const BackwardRoom& room) {
  VisitingTile visiting;
  visiting.member = h % plan.group;
  visiting.query_begin = query_tile * kQueryTile;
  const std::int64_t begin = visiting.query_begin;
  const std::int64_t end = std::min(plan.n_query, begin + kQueryTile);
  visiting.anchor = AnchorOf(plan, b, h, begin);
  visiting.ranges = VisitedRanges(plan, call, b, h, begin, end);
  visiting.tiles = TilesOf(visiting.ranges);

  const std::int64_t row = visiting.member * room.n_row + begin;
  const std::int64_t n_read = std::min(kQueryTile, room.n_row - begin);
  ReadQueries(plan, call.inputs.q, 0, b, h, begin, end, n_read, room.q + row * plan.width);
  float* o_gradient = room.o_gradient + row * plan.width;
  const bool two_sided = plan.terms.key_bias && plan.terms.key_bias->two_sided;
  const double relative_to = two_sided ? 0.0 : visiting.anchor;
  for (std::int64_t r = 0; r < n_read; ++r) {
    const std::int64_t i = begin + r;
    room.lse[row + r] = kNothingSeen;
    room.delta[row + r] = 0.0F;
    float* o_gradient_row = o_gradient + r * plan.width;
    if (i >= end) {
      std::fill(o_gradient_row, o_gradient_row + plan.width, 0.0F);
      continue;
    }
    ReadRow(call.do_, b, h, i, plan.width, o_gradient_row);
    ReadRow(call.o, b, h, i, plan.width, room.o);
    const double delta = DotOf(o_gradient_row, room.o, plan.width);
    const double lse =
        LoadScalar(call.lse.scalar, call.lse.data, (b * plan.n_head + h) * plan.n_query + i);
    if (lse == -std::numeric_limits<double>::infinity()) continue;
    room.lse[row + r] = static_cast<float>((lse - relative_to) * kLog2E);
    room.delta[row + r] = static_cast<float>(delta);
  }
  return visiting;
}

// Turns scores (in p) and <do_i, v_j> (in ds) into p with dropout and ds, for rows [begin, end).
// Rows that see no key of the tile become zeros.
HWY_NOINLINE void SoftmaxBackward(const AttentionPlan& plan, const Tile& tile, std::int64_t begin,
                                  std::int64_t end, const float* lse, const float* delta,
                                  const BackwardRoom& room) {
  const F f;
  const bool adds_distances = ReaderAddsDistances(plan, tile);
  const float* const bias = ReaderAddsKeyBias(plan) ? room.bias : nullptr;
  for (std::int64_t r = begin; r < end; ++r) {
    float* p_row = room.p + r * kKeyTile;
    float* ds_row = room.ds + r * kKeyTile;
    if (r < tile.rows.begin || r >= tile.rows.end) {
      std::fill(p_row, p_row + kKeyTile, 0.0F);
      std::fill(ds_row, ds_row + kKeyTile, 0.0F);
      continue;
    }
    if (plan.terms.dropout) DropoutRow(plan, tile, r, room.z);
    const V row_lse = hn::Set(f, lse[r]);
    const V row_delta = hn::Set(f, delta[r]);
    const float* distances = adds_distances ? DistancesOf(plan, tile, r) : nullptr;
    ForVisited(tile, r, {p_row, ds_row}, [&]<int kVectors>(int first) {
      for (int v = 0; v < kVectors; ++v) {
        const std::int64_t at = (first + v) * kLanes;
        const V x = ScoresAt(p_row, distances, bias, at);
        const V p = Exp2(hn::Sub(x, row_lse));
        V dp = hn::Load(f, ds_row + at);
        V kept = p;
        if (plan.terms.dropout) {
          const V z = hn::Load(f, room.z + at);
          dp = hn::Mul(dp, z);
          kept = hn::Mul(p, z);
        }
        hn::Store(hn::Mul(p, hn::Sub(dp, row_delta)), f, ds_row + at);
        hn::Store(kept, f, p_row + at);
      }
    });
  }
}

// dc_j += sum over rows of ds, times `sign`.
HWY_NOINLINE void AddColumnSums(const Tile& tile, std::int64_t n_key, const float* ds, double sign,
                                double* to) {
  const F f;
  Kept sums[kRowVectors];
  for (int v = 0; v < kRowVectors; ++v) sums[v] = hn::Zero(f);
  for (std::int64_t r = tile.rows.begin; r < tile.rows.end; ++r) {
    for (int v = 0; v < kRowVectors; ++v) {
      sums[v] = hn::Add(sums[v], hn::Load(f, ds + r * kKeyTile + v * kLanes));
    }
  }
  HWY_ALIGN float columns[kKeyTile];
  for (int v = 0; v < kRowVectors; ++v) hn::Store(sums[v], f, columns + v * kLanes);
  const std::int64_t n = std::min(kKeyTile, n_key - tile.key_begin);
  for (std::int64_t j = 0; j < n; ++j) {
    to[tile.key_begin + j] += sign * static_cast<double>(columns[j]);
  }
}

// dr_p += sum_j sigma ds,  dr_j -= sum_i sigma ds. Changes ds to sigma ds.
HWY_NOINLINE void AddTwoSidedGradient(const AttentionPlan& plan, const Tile& tile, float* ds,
                                      double* to) {
  const F f;
  for (std::int64_t r = tile.rows.begin; r < tile.rows.end; ++r) {
    const std::int64_t p = plan.KeyAt(tile.query_begin + r);
    const V last_left = hn::Set(f, static_cast<float>(p - tile.key_begin));
    V sum = hn::Zero(f);
    for (int v = 0; v < kRowVectors; ++v) {
      float* at = ds + r * kKeyTile + v * kLanes;
      const V j = hn::Iota(f, static_cast<float>(v * kLanes));
      const V x = hn::Load(f, at);
      const V signed_x = hn::IfThenElse(hn::Le(j, last_left), x, hn::Neg(x));
      sum = hn::Add(sum, signed_x);
      hn::Store(signed_x, f, at);
    }
    to[p] += SumOf(sum);
  }
  AddColumnSums(tile, plan.n_key, ds, -1.0, to);
}

// Sums along the diagonals of a tile: element (r, j) is added to entry kQueryTile - 1 + j - r.
// Successive rows go to different partial sums. If a row read sums that the row before it had just
// written one float further on, it would have to wait for them.
struct DiagonalSums {
  static constexpr std::int64_t kEntries = kQueryTile + kKeyTile;
  static constexpr std::int64_t kParts = 8;
  DiagonalSums() { std::fill(parts, parts + kParts * kEntries, 0.0F); }
  float* Row(std::int64_t r) { return parts + r % kParts * kEntries + kQueryTile - 1 - r; }
  // The sum of each entry's parts, in this order, in double.
  void Total() {
    const hn::ScalableTag<double> d;
    const hn::Rebind<float, decltype(d)> half;
    static_assert(kEntries % static_cast<std::int64_t>(hn::MaxLanes(d)) == 0);
    for (std::int64_t entry = 0; entry < kEntries;
         entry += static_cast<std::int64_t>(hn::Lanes(d))) {
      auto sum = hn::Zero(d);
      for (std::int64_t part = 0; part < kParts; ++part) {
        sum = hn::Add(sum, hn::PromoteTo(d, hn::LoadU(half, parts + part * kEntries + entry)));
      }
      hn::StoreU(sum, d, totals + entry);
    }
  }
  float parts[kParts * kEntries];
  double totals[kEntries];
};

HWY_NOINLINE void AddDistanceGradient(const AttentionPlan& plan, const Tile& tile, const float* ds,
                                      double* to) {
  const F f;
  const DistanceTable& table = *plan.terms.distance_table;
  DiagonalSums sums;
  for (std::int64_t r = tile.rows.begin; r < tile.rows.end; ++r) {
    float* row = sums.Row(r);
    for (int v = 0; v < kRowVectors; ++v) {
      const V x = hn::Load(f, ds + r * kKeyTile + v * kLanes);
      hn::StoreU(hn::Add(hn::LoadU(f, row + v * kLanes), x), f, row + v * kLanes);
    }
  }
  sums.Total();
  const std::int64_t p = plan.FromFirstKey(tile.query_begin);
  for (std::int64_t entry = 0; entry < DiagonalSums::kEntries - 1; ++entry) {
    const std::int64_t distance = p - tile.key_begin - (entry - (kQueryTile - 1));
    to[std::clamp<std::int64_t>(distance + table.n_ahead, 0, table.n_distance - 1)] +=
        sums.totals[entry];
  }
}

// Adds each lane to the sums of its segment.
HWY_INLINE void AddSegments(const AttentionPlan& plan, const float* ds, const float* u,
                            double* slope, double* intercept) {
  for (std::int64_t j = 0; j < kKeyTile; ++j) {
    const auto segment =
        std::upper_bound(plan.knots.begin(), plan.knots.end(), u[j]) - plan.knots.begin();
    slope[segment] += static_cast<double>(ds[j]) * static_cast<double>(u[j]);
    intercept[segment] += static_cast<double>(ds[j]);
  }
}

HWY_NOINLINE void AddPiecewiseGradient(const AttentionPlan& plan, const Tile& tile, const float* ds,
                                       PartialGradients& to) {
  const F f;
  const PiecewiseLinear& function = *plan.terms.piecewise;
  const std::int64_t head = tile.b * plan.n_head + tile.h;
  const auto n_segment = static_cast<std::int64_t>(plan.knots.size()) + 1;
  const float* slope = plan.slope.data() + tile.h * n_segment;
  double* d_slope = to.slope.data() + head * to.n_segment;
  double* d_intercept = to.intercept.data() + head * to.n_segment;
  DiagonalSums sums;
  for (std::int64_t r = tile.rows.begin; r < tile.rows.end; ++r) {
    const std::int64_t p = plan.PositionOf(tile.query_begin + r);
    const Pieces pieces = PiecesOf(plan, tile, r);
    const float* psi = plan.Psi(plan.FromFirstKey(tile.query_begin + r), tile.key_begin);
    const V factor =
        hn::Set(f, static_cast<float>(function.row_factor[static_cast<std::size_t>(p)]));
    HWY_ALIGN float u[kKeyTile];
    V all = hn::Zero(f), all_u = hn::Zero(f), all_psi = hn::Zero(f);
    float* diagonal = sums.Row(r);
    for (int v = 0; v < kRowVectors; ++v) {
      const V x = hn::Load(f, ds + r * kKeyTile + v * kLanes);
      // slope includes the factor log2(e), and so do these sums until they are added to doubles.
      const V passed = hn::Mul(x, NumberOf(plan, slope, pieces, pieces.u[v]));
      hn::Store(pieces.u[v], f, u + v * kLanes);
      all = hn::Add(all, x);
      all_u = hn::MulAdd(x, pieces.u[v], all_u);
      all_psi = hn::MulAdd(passed, hn::LoadU(f, psi + v * kLanes), all_psi);
      hn::StoreU(hn::MulAdd(passed, factor, hn::LoadU(f, diagonal + v * kLanes)), f,
                 diagonal + v * kLanes);
    }
    if (to.n_segment > 0) {
      if (pieces.first == pieces.last) {
        d_slope[pieces.first] += SumOf(all_u);
        d_intercept[pieces.first] += SumOf(all);
      } else {
        AddSegments(plan, ds + r * kKeyTile, u, d_slope, d_intercept);
      }
    }
    if (to.n_row_factor > 0) {
      to.row_factor[static_cast<std::size_t>(head * to.n_row_factor + p)] += kLn2 * SumOf(all_psi);
    }
  }
  if (to.n_psi == 0) return;
  sums.Total();
  const std::int64_t p = plan.FromFirstKey(tile.query_begin);
  for (std::int64_t entry = 0; entry < DiagonalSums::kEntries - 1; ++entry) {
    const std::int64_t distance = std::abs(p - tile.key_begin - (entry - (kQueryTile - 1)));
    // Pairs at a larger distance are hidden, and their sum is 0.
    const std::int64_t at = std::min(distance, to.n_psi - 1);
    to.psi[static_cast<std::size_t>(head * to.n_psi + at)] += kLn2 * sums.totals[entry];
  }
}

HWY_NOINLINE void AddTermGradients(const AttentionPlan& plan, const AttentionBackwardCall& call,
                                   const Tile& tile, const BackwardRoom& room,
                                   PartialGradients& to) {
  const std::int64_t head = tile.b * plan.n_head + tile.h;
  if (to.n_distance > 0) {
    AddDistanceGradient(plan, tile, room.ds, to.distances.data() + head * to.n_distance);
  }
  if (to.piecewise()) AddPiecewiseGradient(plan, tile, room.ds, to);
  if (!call.d_key_bias.empty()) {
    double* key_bias = call.d_key_bias.As<double>().data() + head * plan.n_key;
    if (plan.terms.key_bias->two_sided) {
      AddTwoSidedGradient(plan, tile, room.ds, key_bias);  // last: it changes ds
    } else {
      AddColumnSums(tile, plan.n_key, room.ds, 1.0, key_bias);
    }
  }
}

HWY_NOINLINE void VisitTileBackward(const AttentionPlan& plan, const AttentionBackwardCall& call,
                                    const VisitingTile& visiting, Tile& tile,
                                    const BackwardRoom& room, PartialGradients& partial) {
  tile.query_begin = visiting.query_begin;
  tile.rows = RowsOf(visiting.ranges, tile.key_begin);
  if (tile.rows.begin >= tile.rows.end) return;
  tile.spans = SpansOf(visiting.ranges, tile.key_begin, tile.rows);
  const std::int64_t begin = tile.rows.begin / kRowBlock * kRowBlock;
  const std::int64_t end = (tile.rows.end + kRowBlock - 1) / kRowBlock * kRowBlock;
  const std::int64_t width = plan.width;
  const std::int64_t row = visiting.member * room.n_row + visiting.query_begin;
  const float* q = room.q + row * width;
  const float* o_gradient = room.o_gradient + row * width;
  const Span* keys_of_rows = tile.spans.keys.data() + begin / kRowBlock;

  // Scores and <do_i, v_j>.
  Product product = {.a = q + begin * width,
                     .a_row = width,
                     .a_k = 1,
                     .b = room.key_columns,
                     .b_k = kKeyTile,
                     .c = room.p + begin * kKeyTile,
                     .c_row = kKeyTile,
                     .n_row = end - begin,
                     .n_k = plan.head_dim,
                     .add = false};
  MultiplyColumns(product, keys_of_rows);
  product.a = o_gradient + begin * width;
  product.b = room.value_columns;
  product.c = room.ds + begin * kKeyTile;
  MultiplyColumns(product, keys_of_rows);

  AddTerms(plan, tile, visiting.ranges, visiting.anchor, room.bias, room.p);
  SoftmaxBackward(plan, tile, begin, end, room.lse + row, room.delta + row, room);

  // dv_j += p_ij do_i and dk_j += ds_ij q_i: the rows of this product are keys.
  product = {.a = room.p,
             .a_row = 1,
             .a_k = kKeyTile,
             .b = o_gradient,
             .b_k = width,
             .c = room.dv,
             .c_row = width,
             .n_row = kKeyTile,
             .n_k = end,
             .add = true,
             .k_of_rows = tile.spans.rows.data()};
  Multiply(product, width);
  product.a = room.ds;
  product.b = q;
  product.c = room.dk;
  Multiply(product, width);
  Multiply({.a = room.ds + begin * kKeyTile,
            .a_row = kKeyTile,
            .a_k = 1,
            .b = room.key_rows,
            .b_k = width,
            .c = room.dq + (row + begin) * width,
            .c_row = width,
            .n_row = end - begin,
            .n_k = kKeyTile,
            .add = true,
            .k_of_rows = keys_of_rows},
           width);
  AddTermGradients(plan, call, tile, room, partial);
}

// Writes the gradient of rows [begin, end), rotated back and multiplied by `factor`.
HWY_NOINLINE void WriteGradient(const AttentionPlan& plan, const HeadsBuffer& to, Turn turn,
                                std::int64_t b, std::int64_t h, std::int64_t begin,
                                std::int64_t end, double factor, float* rows) {
  for (std::int64_t t = begin; t < end; ++t) {
    float* row = rows + (t - begin) * plan.width;
    const std::int64_t at =
        turn == Turn::kQueryBack ? plan.QueryTurn(0, b, t) : plan.KeyTurn(0, b, t);
    if (plan.terms.rotation && at >= 0) TurnRow(TurnAt(plan, at), turn, row);
    WriteRow(to, b, h, t, static_cast<float>(factor), row);
  }
}

void BackwardItem(const AttentionPlan& plan, const AttentionBackwardCall& call,
                  PartialGradients& partial, std::int64_t item, const BackwardRoom& room) {
  const std::int64_t b = item / plan.n_kv_head, h_kv = item % plan.n_kv_head;
  std::vector<VisitingTile> visiting;
  visiting.reserve(static_cast<std::size_t>(plan.group * plan.n_query_tile));
  for (std::int64_t member = 0; member < plan.group; ++member) {
    const std::int64_t h = h_kv * plan.group + member;
    for (std::int64_t query_tile = 0; query_tile < plan.n_query_tile; ++query_tile) {
      visiting.push_back(PrepareQueries(plan, call, b, h, query_tile, room));
    }
  }
  std::fill(room.dq, room.dq + room.rows_floats, 0.0F);
  if (!call.d_key_bias.empty()) {
    double* own =
        call.d_key_bias.As<double>().data() + (b * plan.n_head + h_kv * plan.group) * plan.n_key;
    std::fill(own, own + plan.group * plan.n_key, 0.0);
  }
  for (std::int64_t key_tile = plan.n_key_tile - 1; key_tile >= 0; --key_tile) {
    // The room of the key rows first holds the value rows.
    ReadTile(plan, call.inputs.v, b, h_kv, key_tile, room.key_rows);
    TransposeTile(room.key_rows, plan.width, plan.head_dim, room.value_columns);
    ReadKeys(plan, call.inputs.k, 0, b, h_kv, key_tile, room.key_rows);
    TransposeTile(room.key_rows, plan.width, plan.head_dim, room.key_columns);
    std::fill(room.dk, room.dk + kKeyTile * plan.width, 0.0F);
    std::fill(room.dv, room.dv + kKeyTile * plan.width, 0.0F);
    for (const VisitingTile& of : visiting) {
      if (!of.tiles.Has(key_tile)) continue;
      Tile tile = {.b = b,
                   .h = h_kv * plan.group + of.member,
                   .query_begin = of.query_begin,
                   .key_begin = key_tile * kKeyTile,
                   .rows = {},
                   .spans = {}};
      VisitTileBackward(plan, call, of, tile, room, partial);
    }
    const std::int64_t begin = key_tile * kKeyTile;
    const std::int64_t end = std::min(plan.n_key, begin + kKeyTile);
    // q includes the factor scale log2(e).
    WriteGradient(plan, call.dk, Turn::kKeyBack, b, h_kv, begin, end, kLn2, room.dk);
    for (std::int64_t j = begin; j < end; ++j) {
      WriteRow(call.dv, b, h_kv, j, 1.0F, room.dv + (j - begin) * plan.width);
    }
  }
  for (std::int64_t member = 0; member < plan.group; ++member) {
    WriteGradient(plan, call.dq, Turn::kQueryBack, b, h_kv * plan.group + member, 0, plan.n_query,
                  plan.terms.scale, room.dq + member * room.n_row * plan.width);
  }
}

// to[k] = the sum of `parts` (B H, n) over b; over heads too if `to` has the size n of one head.
void SumParts(const std::vector<double>& parts, std::int64_t n, const NumbersBuffer& numbers) {
  const std::span<double> to = numbers.As<double>();
  std::fill(to.begin(), to.end(), 0.0);
  const auto n_to = static_cast<std::int64_t>(to.size());
  const auto n_part = static_cast<std::int64_t>(parts.size());
  if (n == 0 || n_to == 0) return;
  for (std::int64_t at = 0; at < n_part; ++at) {
    to[static_cast<std::size_t>(at % n_to)] += parts[static_cast<std::size_t>(at)];
  }
}

Status Backward(const AttentionBackwardCall& call, const AttentionTerms& terms,
                const AttentionKernelOptions& options) {
  const AttentionPlan plan(call.inputs, terms);
  PartialGradients partial(plan, call);
  ForParts(options, plan.batch * plan.n_kv_head, [&](std::int64_t begin, std::int64_t end) {
    const BackwardRoom room(plan);
    for (std::int64_t item = begin; item < end; ++item) {
      BackwardItem(plan, call, partial, item, room);
    }
  });
  SumParts(partial.distances, partial.n_distance, call.d_distance_table);
  SumParts(partial.slope, partial.n_segment, call.d_slope);
  SumParts(partial.intercept, partial.n_segment, call.d_intercept);
  SumParts(partial.psi, partial.n_psi, call.d_psi);
  SumParts(partial.row_factor, partial.n_row_factor, call.d_row_factor);
  return {};
}

}  // namespace HWY_NAMESPACE
}  // namespace longrun
HWY_AFTER_NAMESPACE();

#endif  // the include guard, which each target passes once
