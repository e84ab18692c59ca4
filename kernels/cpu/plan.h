// What a call of fused attention works out before any product: which keys each query sees, which
// tiles that makes, and the numbers of the terms in the form and order in which tiles read them.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/attention.h"

namespace longrun {

inline constexpr std::int64_t kQueryTile = 96;  // a multiple of VisitedKeys::kQueries
inline constexpr std::int64_t kKeyTile = 64;
inline constexpr std::int64_t kRowBlock = 6;   // rows of a product whose sums stay in registers
inline constexpr std::int64_t kKeyBlock = 16;  // keys that are hidden together: whole vectors
inline constexpr double kLog2E = 1.4426950408889634074;
inline constexpr double kLn2 = 0.69314718055994530942;

// The keys of a query: [begin, end) and, before them, [sink_begin, sink_end).
struct KeyRange {
  std::int32_t begin = 0, end = 0;
  std::int32_t sink_begin = 0, sink_end = 0;
  bool empty() const { return begin >= end && sink_begin >= sink_end; }
};

// The tiles of keys that a tile of queries visits: [begin, end) and then the sinks' [sink_begin,
// sink_end), which end at or before `begin`: sinks in tiles of the range itself are visited there.
struct TileRange {
  std::int64_t begin = 0, end = 0;
  std::int64_t sink_begin = 0, sink_end = 0;
  bool sinks_apart = true;  // none in tiles of the range
  bool Has(std::int64_t tile) const {
    return (tile >= begin && tile < end) || (tile >= sink_begin && tile < sink_end);
  }
};
TileRange TilesOf(std::span<const KeyRange> rows);

// The rows of a tile that see any of its keys, and whether some key of theirs is hidden.
struct TileRows {
  std::int64_t begin = 0, end = 0;
  bool masked = false;
};
TileRows RowsOf(std::span<const KeyRange> rows, std::int64_t key_begin);

struct Span {
  std::int32_t begin = 0, end = 0;
};

// What of a tile is not hidden, as products take it: of each block of kRowBlock rows the keys, in whole
// blocks of keys; of each block of kRowBlock keys the rows, in whole blocks of rows.
struct TileSpans {
  static constexpr std::size_t kRowBlocks = kQueryTile / kRowBlock;
  static constexpr std::size_t kColumnBlocks = (kKeyTile + kRowBlock - 1) / kRowBlock;
  std::array<Span, kRowBlocks> keys;
  std::array<Span, kColumnBlocks> rows;
};
TileSpans SpansOf(std::span<const KeyRange> rows, std::int64_t key_begin, const TileRows& tile);

struct AttentionPlan {
  AttentionPlan(const AttentionInputs& inputs, const AttentionTerms& the_terms);

  // Of the queries [begin, end) of sequence b.
  std::span<const KeyRange> Ranges(std::int64_t b, std::int64_t begin, std::int64_t end) const {
    const std::int64_t from = (ranges_are_shared ? 0 : b * n_query) + begin;
    return std::span(ranges).subspan(static_cast<std::size_t>(from),
                                     static_cast<std::size_t>(end - begin));
  }
  // log2(e) times a piece of a term's numbers for row p: entry m belongs to key key_begin + m.
  const float* Distances(std::int64_t h, std::int64_t p, std::int64_t key_begin) const {
    return distances.data() + h * n_reversed + key_begin - p + reversed_zero;
  }
  const float* Psi(std::int64_t p, std::int64_t key_begin) const {
    return psi.data() + key_begin - p + reversed_zero;
  }
  // The row of the rotation's table that query i, or key j, of a region turns by. Without regions there
  // is one, and the row is the position; that of a query that sees nothing may be negative.
  std::int64_t QueryTurn(std::int64_t region, std::int64_t i) const {
    if (terms.regions.empty()) return terms.visibility.q_offset + i;
    return terms.regions[static_cast<std::size_t>(region)].query_row[static_cast<std::size_t>(i)];
  }
  std::int64_t KeyTurn(std::int64_t region, std::int64_t j) const {
    if (terms.regions.empty()) return j;
    return terms.regions[static_cast<std::size_t>(region)].key_row[static_cast<std::size_t>(j)];
  }
  // What the keys of a region blend with; null: with nothing.
  const BlendedKeys* Blended(std::int64_t region) const {
    if (terms.regions.empty()) return nullptr;
    const Region& of = terms.regions[static_cast<std::size_t>(region)];
    return of.blended ? &*of.blended : nullptr;
  }
  // The keys [begin, end) of query i that lie in a region, seen or not.
  struct KeySpan {
    std::int64_t begin = 0, end = 0;
  };
  KeySpan RegionKeys(std::int64_t region, std::int64_t i) const;
  // The position of a query, or the nearest one that a key has.
  std::int64_t KeyAt(std::int64_t i) const;

  const AttentionTerms& terms;
  std::int64_t batch, n_head, n_kv_head, n_query, n_key, head_dim;
  std::int64_t width;  // head_dim as rows are stored inside: a multiple of kChannelStep
  std::int64_t n_query_tile, n_key_tile;
  std::int64_t group;  // query heads of a key head

  // Regions, or 1 without any; and the sets of turned keys that they have, each with the region that it
  // is turned by.
  std::int64_t n_region;
  std::vector<std::int64_t> key_set;  // by region
  std::vector<std::int64_t> key_set_region;

  std::vector<KeyRange> ranges;  // (B or 1, T_q)
  bool ranges_are_shared = true;

  // Rows of numbers by j - p: (H, n_reversed), (n_reversed), entry 0 at j - p = -reversed_zero.
  std::int64_t n_reversed = 0, reversed_zero = 0;
  std::vector<float> distances;
  std::vector<float> psi;  // not times log2(e)
  std::vector<float> knots;
  std::vector<float> slope, intercept;  // (H, K + 1), times log2(e)
  std::vector<float> cos, sin;          // of the rotation, (n_positions, R/2)

  static constexpr std::int64_t kChannelStep = 16;

 private:
  void FindKeySets();
};

}  // namespace longrun
