// The forward pass. One work item is one tile of queries of one head, which walks the tiles of keys
// from the diagonal towards the oldest.
#if defined(LONGRUN_KERNELS_CPU_FORWARD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LONGRUN_KERNELS_CPU_FORWARD_INL_H_
#undef LONGRUN_KERNELS_CPU_FORWARD_INL_H_
#else
#define LONGRUN_KERNELS_CPU_FORWARD_INL_H_
#endif

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>

#include "hwy/highway.h"
#include "kernels/cpu/aligned.h"
#include "kernels/cpu/parts.h"
#include "kernels/cpu/plan.h"
#include "kernels/cpu/rows-inl.h"
#include "kernels/cpu/scores-inl.h"
#include "kernels/cpu/skip.h"
#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace longrun {
namespace HWY_NAMESPACE {

// A row keeps its old maximum until a score exceeds it by this much, in base 2: fp32 holds sums of
// 2^8 without harm, and most tiles then need no rescaling.
inline constexpr float kGrowthMax = 8.0F;

// Keys and values of all key heads, read once, in the layout of the products. Each tile of queries
// reads those of its head again. If they are larger than a core's own cache, the products fetch
// each tile in advance: 16k keys of 128 channels then take 9 % less time (AMD EPYC, Zen 4). In
// shorter texts, fetching would cost up to 3 %.
struct PackedKeys {
  static constexpr std::int64_t kCacheFloats = (std::int64_t{1} << 20) / sizeof(float);

  explicit PackedKeys(const AttentionPlan& plan)
      : key_floats(plan.head_dim * kKeyTile),
        value_floats(kKeyTile * plan.width),
        n_tile(plan.batch * plan.n_kv_head * plan.n_key_tile),
        fetches(plan.n_key_tile * (key_floats + value_floats) > kCacheFloats),
        keys(static_cast<std::int64_t>(plan.key_set_region.size()) * n_tile * key_floats),
        values(n_tile * value_floats),
        norms(n_tile) {}
  float* Keys(std::int64_t set, std::int64_t tile) const {
    return keys.get() + (set * n_tile + tile) * key_floats;
  }
  float* Values(std::int64_t tile) const { return values.get() + tile * value_floats; }
  std::int64_t key_floats, value_floats, n_tile;
  bool fetches;
  AlignedFloats keys;    // (set, tile, D, kKeyTile)
  AlignedFloats values;  // (tile, kKeyTile, width)
  AlignedFloats norms;   // the largest |k~| of each tile
};

HWY_INLINE float Norm(const float* row, std::int64_t n) {
  double sum = 0.0;
  for (std::int64_t c = 0; c < n; ++c) {
    sum += static_cast<double>(row[c]) * static_cast<double>(row[c]);
  }
  // A maximum would ignore a NaN, and skipping would then skip its key.
  if (std::isnan(sum)) return std::numeric_limits<float>::infinity();
  return static_cast<float>(std::sqrt(sum));
}

void PackTile(const AttentionPlan& plan, const AttentionInputs& in, bool with_norms,
              std::int64_t item, const PackedKeys& packed) {
  const std::int64_t tile = item % plan.n_key_tile;
  const std::int64_t series = item / plan.n_key_tile;
  const std::int64_t b = series / plan.n_kv_head, h_kv = series % plan.n_kv_head;
  float* values = packed.Values(item);
  float largest = 0.0F;
  for (std::size_t set = 0; set < plan.key_set_region.size(); ++set) {
    // The room of the values first holds the rows of the keys.
    ReadKeys(plan, in.k, plan.key_set_region[set], b, h_kv, tile, values);
    for (std::int64_t j = 0; with_norms && j < kKeyTile; ++j) {
      largest = std::max(largest, Norm(values + j * plan.width, plan.head_dim));
    }
    TransposeTile(values, plan.width, plan.head_dim,
                  packed.Keys(static_cast<std::int64_t>(set), item));
  }
  packed.norms.get()[item] = largest;
  ReadTile(plan, in.v, b, h_kv, tile, values);
}

// One tile of queries on its way through the keys.
struct QueryTile {
  explicit QueryTile(const AttentionPlan& plan)
      : n_product(plan.n_region > 1 ? kQueryTile * kKeyTile : 0),
        room((plan.n_region + 1) * kQueryTile * plan.width + kQueryTile * kKeyTile + n_product +
             kQueryTile * kLanes + kQueryTile + 2 * kKeyTile),
        q(room.get()),
        o(q + plan.n_region * kQueryTile * plan.width),
        scores(o + kQueryTile * plan.width),
        product(scores + kQueryTile * kKeyTile),
        sums(product + n_product),
        largest(sums + kQueryTile * kLanes),
        bias(largest + kQueryTile),
        z(bias + kKeyTile) {}
  // Starts a tile of n_row queries.
  void Clear(std::int64_t n_row, std::int64_t width) {
    std::fill(o, o + n_row * width, 0.0F);
    std::fill(sums, sums + n_row * kLanes, 0.0F);
    std::fill(largest, largest + n_row, kHidden);
  }
  std::int64_t n_product;
  AlignedFloats room;
  float* q;  // (region, kQueryTile, width)
  float *o, *scores;
  float* product;  // the scores of a tile's second and later regions
  float* sums;     // (row, lane): of 2^(x - largest), lane by lane
  float* largest;  // by row: the largest x so far, or up to kGrowthMax less
  float *bias, *z;
  std::array<AttentionPlan::KeySpan, kRegionsMax> regions;  // RegionKeys of the rows
};

// Rescales a row whose largest score has grown by more than kGrowthMax.
HWY_NOINLINE void RaiseLargest(QueryTile& t, std::int64_t r, std::int64_t width, float largest) {
  const F f;
  if (t.largest[r] > kHidden) {
    const V factor = Exp2(hn::Set(f, t.largest[r] - largest));
    float* o = t.o + r * width;
    for (std::int64_t c = 0; c < width; c += kLanes) {
      hn::Store(hn::Mul(factor, hn::Load(f, o + c)), f, o + c);
    }
    float* sum = t.sums + r * kLanes;
    hn::Store(hn::Mul(factor, hn::Load(f, sum)), f, sum);
  }
  t.largest[r] = largest;
}

// Turns the scores of rows [begin, end) into 2^(x - largest), adds them up, and applies dropout.
// Rows that see no key of the tile become zeros.
HWY_NOINLINE void Softmax(const AttentionPlan& plan, const Tile& tile, std::int64_t begin,
                          std::int64_t end, QueryTile& t) {
  const F f;
  const bool adds_distances = ReaderAddsDistances(plan, tile);
  const float* const bias = ReaderAddsKeyBias(plan) ? t.bias : nullptr;
  for (std::int64_t r = begin; r < end; ++r) {
    float* row = t.scores + r * kKeyTile;
    if (r < tile.rows.begin || r >= tile.rows.end) {
      std::fill(row, row + kKeyTile, 0.0F);
      continue;
    }
    if (plan.terms.dropout) DropoutRow(plan, tile, r, t.z);
    const float* distances = adds_distances ? DistancesOf(plan, tile, r) : nullptr;
    ForVisited(tile, r, {row}, [&]<int kVectors>(int first) {
      Kept x[kVectors];
      for (int v = 0; v < kVectors; ++v) {
        x[v] = ScoresAt(row, distances, bias, (first + v) * kLanes);
      }
      V largest = x[0];
      for (int v = 1; v < kVectors; ++v) largest = hn::Max(largest, x[v]);
      if (!hn::AllFalse(f, hn::Gt(largest, hn::Set(f, t.largest[r] + kGrowthMax)))) {
        RaiseLargest(t, r, plan.width, hn::GetLane(hn::MaxOfLanes(f, largest)));
      }
      const V reference = hn::Set(f, t.largest[r] > kHidden ? t.largest[r] : 0.0F);
      V sum = hn::Zero(f);  // of the tile, for the reason that ProductBlock has
      for (int v = 0; v < kVectors; ++v) {
        const std::int64_t at = (first + v) * kLanes;
        const V p = Exp2(hn::Sub(x[v], reference));
        sum = hn::Add(sum, p);
        hn::Store(plan.terms.dropout ? hn::Mul(p, hn::Load(f, t.z + at)) : p, f, row + at);
      }
      hn::Store(hn::Add(hn::Load(f, t.sums + r * kLanes), sum), f, t.sums + r * kLanes);
    });
  }
}

// Multiplies rows [begin, end) of a tile by its keys, both rotated as `region` says. The tile's
// values are read next.
HWY_INLINE void MultiplyKeys(const AttentionPlan& plan, const PackedKeys& packed,
                             std::int64_t region, std::int64_t packed_tile, std::int64_t begin,
                             std::int64_t end, const Tile& tile, const QueryTile& t,
                             float* scores) {
  MultiplyColumns({.a = t.q + (region * kQueryTile + begin) * plan.width,
                   .a_row = plan.width,
                   .a_k = 1,
                   .b = packed.Keys(plan.key_set[static_cast<std::size_t>(region)], packed_tile),
                   .b_k = kKeyTile,
                   .c = scores + begin * kKeyTile,
                   .c_row = kKeyTile,
                   .n_row = end - begin,
                   .n_k = plan.head_dim,
                   .add = false,
                   .next = packed.fetches ? packed.Values(packed_tile) : nullptr,
                   .n_column = kKeyTile},
                  tile.spans.keys.data() + begin / kRowBlock);
}

// Replaces the scores of the keys [keys.begin, keys.end) of a row by `product`.
HWY_INLINE void TakeProducts(const AttentionPlan::KeySpan& keys, std::int64_t key_begin,
                             const float* product, float* scores) {
  const F f;
  const auto in_tile = [&](std::int64_t key) {
    return hn::Set(f, static_cast<float>(std::clamp<std::int64_t>(key - key_begin, 0, kKeyTile)));
  };
  const V begin = in_tile(keys.begin), end = in_tile(keys.end);
  for (int v = 0; v < kRowVectors; ++v) {
    const V j = hn::Iota(f, static_cast<float>(v * kLanes));
    const auto taken = hn::And(hn::Ge(j, begin), hn::Lt(j, end));
    const V score =
        hn::IfThenElse(taken, hn::Load(f, product + v * kLanes), hn::Load(f, scores + v * kLanes));
    hn::Store(score, f, scores + v * kLanes);
  }
}

// The same with several regions. Nearly every tile lies in one of them, and needs only one product.
HWY_NOINLINE void MultiplyRegions(const AttentionPlan& plan, const PackedKeys& packed,
                                  std::int64_t packed_tile, std::int64_t begin, std::int64_t end,
                                  const Tile& tile, QueryTile& t) {
  const AttentionPlan::KeySpan of_tile = {.begin = tile.key_begin,
                                          .end = tile.key_begin + kKeyTile};
  bool is_first = true;
  for (std::int64_t region = 0; region < plan.n_region; ++region) {
    if (!of_tile.Meets(t.regions[static_cast<std::size_t>(region)])) continue;
    // Whether row r has a key of the tile in the region.
    const auto has = [&](std::int64_t r) {
      const AttentionPlan::KeySpan keys = plan.RegionKeys(region, tile.query_begin + r);
      return keys.begin < keys.end && of_tile.Meets(keys);
    };
    std::int64_t from = tile.rows.begin, to = tile.rows.end;
    while (from < to && !has(from)) ++from;
    while (from < to && !has(to - 1)) --to;
    if (from == to) continue;
    if (is_first) {
      MultiplyKeys(plan, packed, region, packed_tile, begin, end, tile, t, t.scores);
      is_first = false;
      continue;
    }
    MultiplyKeys(plan, packed, region, packed_tile, from / kRowBlock * kRowBlock,
                 (to + kRowBlock - 1) / kRowBlock * kRowBlock, tile, t, t.product);
    for (std::int64_t r = from; r < to; ++r) {
      TakeProducts(plan.RegionKeys(region, tile.query_begin + r), tile.key_begin,
                   t.product + r * kKeyTile, t.scores + r * kKeyTile);
    }
  }
}

// The keys of a tile, in the rotation of a region that has its first key; null if no product
// fetches them.
HWY_NOINLINE const float* KeysOf(const AttentionPlan& plan, const PackedKeys& packed,
                                 std::int64_t packed_tile, std::int64_t key_begin,
                                 const QueryTile& t) {
  if (!packed.fetches) return nullptr;
  std::size_t region = 0;
  if (plan.n_region > 1) {
    const AttentionPlan::KeySpan key = {.begin = key_begin, .end = key_begin + 1};
    while (region + 1 < plan.key_set.size() && !key.Meets(t.regions[region])) ++region;
  }
  return packed.Keys(plan.key_set[region], packed_tile);
}

// `next_keys` are read after this tile; may be null.
HWY_INLINE void VisitTile(const AttentionPlan& plan, const PackedKeys& packed,
                          std::span<const KeyRange> ranges, double anchor, std::int64_t packed_tile,
                          const float* next_keys, Tile& tile, QueryTile& t) {
  tile.rows = RowsOf(ranges, tile.key_begin);
  if (tile.rows.begin >= tile.rows.end) return;
  tile.spans = SpansOf(ranges, tile.key_begin, tile.rows);
  const std::int64_t begin = tile.rows.begin / kRowBlock * kRowBlock;
  const std::int64_t end = (tile.rows.end + kRowBlock - 1) / kRowBlock * kRowBlock;
  if (plan.n_region == 1) {
    MultiplyKeys(plan, packed, 0, packed_tile, begin, end, tile, t, t.scores);
  } else {
    MultiplyRegions(plan, packed, packed_tile, begin, end, tile, t);
  }
  AddTerms(plan, tile, ranges, anchor, t.bias, t.scores);
  Softmax(plan, tile, begin, end, t);
  Multiply({.a = t.scores + begin * kKeyTile,
            .a_row = kKeyTile,
            .a_k = 1,
            .b = packed.Values(packed_tile),
            .b_k = plan.width,
            .c = t.o + begin * plan.width,
            .c_row = plan.width,
            .n_row = end - begin,
            .n_k = kKeyTile,
            .add = true,
            .k_of_rows = tile.spans.keys.data() + begin / kRowBlock,
            .next = next_keys,
            .n_column = plan.width},
           plan.width);
}

HWY_NOINLINE void Finish(const AttentionPlan& plan, const AttentionForwardCall& call,
                         const Tile& tile, double anchor, std::int64_t n_row, const QueryTile& t) {
  for (std::int64_t r = 0; r < n_row; ++r) {
    const double sum = SumOf(hn::Load(F(), t.sums + r * kLanes));
    const bool seen = t.largest[r] > kHidden || std::isnan(sum);
    const std::int64_t i = tile.query_begin + r;
    const std::int64_t at = (tile.b * plan.n_head + tile.h) * plan.n_query + i;
    const bool two_sided = plan.terms.key_bias && plan.terms.key_bias->two_sided;
    const double lse = seen ? (two_sided ? 0.0 : anchor) +
                                  kLn2 * (static_cast<double>(t.largest[r]) + std::log2(sum))
                            : -std::numeric_limits<double>::infinity();
    StoreScalar(call.lse.scalar, call.lse.data, at, lse);
    WriteRow(call.o, tile.b, tile.h, i, seen ? static_cast<float>(1.0 / sum) : 0.0F,
             t.o + r * plan.width);
  }
}

// Returns the number of key tiles that were computed.
std::int64_t ForwardItem(const AttentionPlan& plan, const AttentionForwardCall& call,
                         const PackedKeys& packed, const SkipBounds& bounds, std::int64_t item,
                         QueryTile& t) {
  const std::int64_t series = item / plan.n_query_tile;
  // With a causal mask the longest tiles come first.
  const std::int64_t query_tile = plan.n_query_tile - 1 - item % plan.n_query_tile;
  Tile tile = {.b = series / plan.n_head,
               .h = series % plan.n_head,
               .query_begin = query_tile * kQueryTile,
               .key_begin = 0,
               .rows = {},
               .spans = {}};
  const std::int64_t query_end = std::min(plan.n_query, tile.query_begin + kQueryTile);
  const std::int64_t n_row = query_end - tile.query_begin;
  const std::span<const KeyRange> ranges = plan.Ranges(tile.b, tile.query_begin, query_end);
  const TileRange tiles = TilesOf(ranges);
  const double anchor = AnchorOf(plan, tile.b, tile.h, tile.query_begin);
  const std::int64_t packed_begin =
      (tile.b * plan.n_kv_head + tile.h / plan.group) * plan.n_key_tile;

  const std::int64_t n_read = (n_row + kRowBlock - 1) / kRowBlock * kRowBlock;
  t.Clear(n_read, plan.width);
  for (std::int64_t region = 0; region < plan.n_region; ++region) {
    ReadQueries(plan, call.inputs.q, region, tile.b, tile.h, tile.query_begin, query_end, n_read,
                t.q + region * kQueryTile * plan.width);
    t.regions[static_cast<std::size_t>(region)] =
        plan.n_region > 1 ? plan.RegionKeys(region, tile.query_begin, query_end)
                          : AttentionPlan::KeySpan{.begin = 0, .end = plan.n_key};
  }
  const bool skips = bounds.skips() && tiles.sinks_apart;
  std::vector<float> norms;
  if (skips) {
    norms.reserve(static_cast<std::size_t>(n_row));
    for (std::int64_t r = 0; r < n_row; ++r) {
      float largest = 0.0F;
      for (std::int64_t region = 0; region < plan.n_region; ++region) {
        const float* row = t.q + (region * kQueryTile + r) * plan.width;
        largest = std::max(largest, Norm(row, plan.head_dim));
      }
      norms.push_back(largest);
    }
  }

  std::int64_t n_visited = 0;
  std::int64_t first = tiles.end;  // the lowest tile of the range that was visited
  while (first > tiles.begin) {
    --first;
    ++n_visited;
    tile.key_begin = first * kKeyTile;
    const std::int64_t next = std::max(first - 1, tiles.begin);
    VisitTile(plan, packed, ranges, anchor, packed_begin + first,
              KeysOf(plan, packed, packed_begin + next, next * kKeyTile, t), tile, t);
    if (skips && first > tiles.begin &&
        bounds.MayStop({.b = tile.b,
                        .h = tile.h,
                        .tile = first,
                        .first_distance = plan.FromFirstKey(tile.query_begin),
                        .anchor = anchor,
                        .ranges = ranges,
                        .norms = norms,
                        .largest = {t.largest, static_cast<std::size_t>(n_row)}})) {
      break;
    }
  }
  for (std::int64_t sink = tiles.sink_end - 1; sink >= tiles.sink_begin; --sink) {
    ++n_visited;
    tile.key_begin = sink * kKeyTile;
    const std::int64_t next = std::max(sink - 1, tiles.sink_begin);
    VisitTile(plan, packed, ranges, anchor, packed_begin + sink,
              KeysOf(plan, packed, packed_begin + next, next * kKeyTile, t), tile, t);
  }
  Finish(plan, call, tile, anchor, n_row, t);
  if (!call.first_key.empty()) {
    const std::int64_t n_block = VisitedKeys::Count(plan.n_query);
    const std::int64_t begin = tile.query_begin / VisitedKeys::kQueries;
    const std::int64_t end = begin + VisitedKeys::Count(n_row);
    const auto first_key = first > tiles.begin ? static_cast<std::int32_t>(first * kKeyTile) : 0;
    for (std::int64_t block = begin; block < end; ++block) {
      call.first_key[static_cast<std::size_t>(series * n_block + block)] = first_key;
    }
  }
  return n_visited;
}

Status Forward(const AttentionForwardCall& call, const AttentionTerms& terms,
               const AttentionKernelOptions& options) {
  const AttentionPlan plan(call.inputs, terms);
  const PackedKeys packed(plan);
  const bool skips = SkipBounds::Applies(terms, options.skip_epsilon);
  ForParts(options, packed.n_tile, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t item = begin; item < end; ++item) {
      PackTile(plan, call.inputs, skips, item, packed);
    }
  });
  const SkipBounds bounds =
      skips ? SkipBounds(plan, options.skip_epsilon, packed.norms.get()) : SkipBounds();
  std::atomic<std::int64_t> n_tiles = 0;
  ForParts(options, plan.batch * plan.n_head * plan.n_query_tile,
           [&](std::int64_t begin, std::int64_t end) {
             QueryTile t(plan);
             for (std::int64_t item = begin; item < end; ++item) {
               n_tiles.fetch_add(ForwardItem(plan, call, packed, bounds, item, t),
                                 std::memory_order_relaxed);
             }
           });
  if (call.n_tiles != nullptr) *call.n_tiles = n_tiles;
  return {};
}

}  // namespace HWY_NAMESPACE
}  // namespace longrun
HWY_AFTER_NAMESPACE();

#endif  // the include guard, which each target passes once
