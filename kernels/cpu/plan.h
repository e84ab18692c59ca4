// The part of a fused attention call that is computed before any product: the keys that each query
// sees, the resulting tiles, and the terms' numbers in the form and order in which tiles read them.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/attention.h"

namespace longrun {

inline constexpr std::int64_t kQueryTile = 96;  // a multiple of VisitedKeys::kQueries
inline constexpr std::int64_t kKeyTile = 64;
inline constexpr std::int64_t kRowBlock = 6;   // rows of a product whose sums stay in registers
inline constexpr std::int64_t kKeyBlock = 16;  // keys hidden together: whole vectors
inline constexpr double kLog2E = 1.4426950408889634074;
inline constexpr double kLn2 = 0.69314718055994530942;

// The keys of a query: [begin, end) and, before them, [sink_begin, sink_end).
struct KeyRange {
  std::int32_t begin = 0, end = 0;
  std::int32_t sink_begin = 0, sink_end = 0;
  bool empty() const { return begin >= end && sink_begin >= sink_end; }
};

// The tiles of keys that a tile of queries visits: [begin, end), then the sinks' tiles [sink_begin,
// sink_end), which end at or before `begin`. Sinks that lie in tiles of [begin, end)
// are visited there.
struct TileRange {
  std::int64_t begin = 0, end = 0;
  std::int64_t sink_begin = 0, sink_end = 0;
  bool sinks_apart = true;  // no sink lies in tiles of the range
  bool Has(std::int64_t tile) const {
    return (tile >= begin && tile < end) || (tile >= sink_begin && tile < sink_end);
  }
};
TileRange TilesOf(std::span<const KeyRange> rows);

// The rows of a tile that see any of its keys, and whether any of their keys is hidden.
struct TileRows {
  std::int64_t begin = 0, end = 0;
  bool masked = false;
};
TileRows RowsOf(std::span<const KeyRange> rows, std::int64_t key_begin);

struct Span {
  std::int32_t begin = 0, end = 0;
};

// The visible part of a tile, in the form that products take. `keys` has, for each block of
// kRowBlock rows, the keys that these rows see, widened to whole blocks of kKeyBlock keys. `rows`
// has, for each block of kRowBlock keys, the rows that see these keys, widened to whole blocks.
struct TileSpans {
  static constexpr std::size_t kRowBlocks = kQueryTile / kRowBlock;
  static constexpr std::size_t kColumnBlocks = (kKeyTile + kRowBlock - 1) / kRowBlock;
  std::array<Span, kRowBlocks> keys;
  std::array<Span, kColumnBlocks> rows;
};
TileSpans SpansOf(std::span<const KeyRange> rows, std::int64_t key_begin, const TileRows& tile);

// T_p of Visibility.
inline std::int64_t PositionCount(const Visibility& v, std::int64_t n_query, std::int64_t n_key) {
  return std::max(v.k_offset + n_key, v.q_offset + n_query);
}

struct AttentionPlan {
  AttentionPlan(const AttentionInputs& inputs, const AttentionTerms& the_terms);

  // The key ranges of queries [begin, end) of sequence b.
  std::span<const KeyRange> Ranges(std::int64_t b, std::int64_t begin, std::int64_t end) const {
    const std::int64_t from = (ranges_are_shared ? 0 : b * n_query) + begin;
    return std::span(ranges).subspan(static_cast<std::size_t>(from),
                                     static_cast<std::size_t>(end - begin));
  }
  // The position of query i in the text, and its distance from key 0.
  std::int64_t PositionOf(std::int64_t i) const { return terms.visibility.q_offset + i; }
  std::int64_t FromFirstKey(std::int64_t i) const {
    return PositionOf(i) - terms.visibility.k_offset;
  }
  // A term's numbers for the query at the distance p from key 0; entry m belongs to key
  // (key_begin + m). Distances include the factor log2(e), psi does not.
  const float* Distances(std::int64_t h, std::int64_t p, std::int64_t key_begin) const {
    return distances.data() + h * n_reversed + key_begin - p + reversed_zero;
  }
  const float* Psi(std::int64_t p, std::int64_t key_begin) const {
    return psi.data() + key_begin - p + reversed_zero;
  }
  // The key bias of key j; there must be one.
  double KeyBiasAt(std::int64_t head, std::int64_t j) const {
    return terms.key_bias->At(head, n_head, n_key, terms.visibility.k_offset, j);
  }
  // The row of the rotation table for query i, or key j, of sequence b in a region. Without regions
  // there is one region. Negative for a query before position 0, which sees no key.
  std::int64_t QueryTurn(std::int64_t region, std::int64_t b, std::int64_t i) const {
    if (terms.regions.empty()) return TurnOf(b, PositionOf(i));
    return terms.regions[static_cast<std::size_t>(region)].query_row[static_cast<std::size_t>(i)];
  }
  std::int64_t KeyTurn(std::int64_t region, std::int64_t b, std::int64_t j) const {
    if (terms.regions.empty()) return TurnOf(b, terms.visibility.k_offset + j);
    return terms.regions[static_cast<std::size_t>(region)].key_row[static_cast<std::size_t>(j)];
  }
  // The blending of a region's keys; null: none.
  const BlendedKeys* Blended(std::int64_t region) const {
    if (terms.regions.empty()) return nullptr;
    const Region& of = terms.regions[static_cast<std::size_t>(region)];
    return of.blended ? &*of.blended : nullptr;
  }
  // The keys [begin, end) of query i that lie in a region, visible or not.
  struct KeySpan {
    std::int64_t begin = 0, end = 0;
    bool Meets(const KeySpan& other) const { return begin < other.end && end > other.begin; }
  };
  KeySpan RegionKeys(std::int64_t region, std::int64_t i) const;
  // From the first to the last key of a region for queries [begin, end).
  KeySpan RegionKeys(std::int64_t region, std::int64_t begin, std::int64_t end) const;
  // The key at the position of a query, or the nearest key.
  std::int64_t KeyAt(std::int64_t i) const;

  const AttentionTerms& terms;
  std::int64_t batch, n_head, n_kv_head, n_query, n_key, head_dim;
  std::int64_t width;  // head_dim rounded up to kChannelStep, as rows are stored here
  std::int64_t n_query_tile, n_key_tile;
  std::int64_t group;  // query heads per key head

  // The number of regions, at least 1. Regions that rotate the keys alike share a set of rotated
  // keys; key_set_region has the first of these regions.
  std::int64_t n_region;
  std::vector<std::int64_t> key_set;  // by region
  std::vector<std::int64_t> key_set_region;

  std::vector<KeyRange> ranges;  // (B or 1, T_q)
  bool ranges_are_shared = true;

  // `distances` (H, n_reversed) and `psi` (n_reversed) are indexed by the key's position minus the
  // query's, which is -reversed_zero in entry 0.
  std::int64_t n_reversed = 0, reversed_zero = 0;
  std::vector<float> distances;
  bool distances_are_finite = true;
  std::vector<float> psi;  // not times log2(e)
  std::vector<float> knots;
  std::vector<float> slope, intercept;  // (H, K + 1), times log2(e)
  std::vector<float> cos, sin;          // of the rotation, (n_positions, R/2)

  static constexpr std::int64_t kChannelStep = 16;

 private:
  void FindKeySets();
  std::int64_t TurnOf(std::int64_t b, std::int64_t position) const {
    if (!terms.rotation || terms.rotation->row.empty() || position < 0) return position;
    const std::int64_t n_position = PositionCount(terms.visibility, n_query, n_key);
    return terms.rotation->row[static_cast<std::size_t>(b * n_position + position)];
  }
};

}  // namespace longrun
