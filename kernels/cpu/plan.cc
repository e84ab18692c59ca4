#include "kernels/cpu/plan.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace longrun {
namespace {

std::int64_t RoundUp(std::int64_t n, std::int64_t step) { return (n + step - 1) / step * step; }

// The keys of a query at position p, in a document [begin, end), among the n_key keys of the call.
KeyRange RangeOf(const Visibility& v, std::int64_t p, std::int64_t document_begin,
                 std::int64_t document_end, std::int64_t n_key) {
  const auto key = [&](std::int64_t position) {
    return static_cast<std::int32_t>(std::clamp<std::int64_t>(position - v.k_offset, 0, n_key));
  };
  std::int64_t end = v.causal ? std::min(p + 1, document_end) : document_end;
  std::int64_t begin = document_begin;
  const std::int64_t sink_end = std::min(document_begin + v.n_sink, end);
  if (v.window > 0) {
    begin = std::max(begin, p - v.window + 1);
    end = std::min(end, p + v.window);
  }
  end = std::max(end, document_begin);
  begin = std::min(begin, end);
  return {.begin = key(begin),
          .end = key(end),
          .sink_begin = key(document_begin),
          .sink_end = key(std::max(document_begin, std::min(sink_end, begin)))};
}

// The end of each position's document, from the documents' begins.
std::vector<std::int32_t> DocumentEnds(std::span<const std::int32_t> begins) {
  const auto n = static_cast<std::int64_t>(begins.size());
  std::vector<std::int32_t> ends(begins.size());
  for (std::int64_t t = n - 1; t >= 0; --t) {
    const auto at = static_cast<std::size_t>(t);
    const bool last = t == n - 1 || begins[at + 1] == t + 1;
    ends[at] = last ? static_cast<std::int32_t>(t + 1) : ends[at + 1];
  }
  return ends;
}

std::vector<KeyRange> AllRanges(const Visibility& v, std::int64_t batch, std::int64_t n_query,
                                std::int64_t n_key) {
  std::vector<KeyRange> ranges;
  if (v.document_begin.empty()) {
    ranges.reserve(static_cast<std::size_t>(n_query));
    for (std::int64_t i = 0; i < n_query; ++i) {
      ranges.push_back(RangeOf(v, v.q_offset + i, 0, v.k_offset + n_key, n_key));
    }
    return ranges;
  }
  const std::int64_t n_position = PositionCount(v, n_query, n_key);
  ranges.reserve(static_cast<std::size_t>(batch * n_query));
  for (std::int64_t b = 0; b < batch; ++b) {
    const auto begins = v.document_begin.subspan(static_cast<std::size_t>(b * n_position),
                                                 static_cast<std::size_t>(n_position));
    const std::vector<std::int32_t> ends = DocumentEnds(begins);
    for (std::int64_t i = 0; i < n_query; ++i) {
      const auto p = static_cast<std::size_t>(v.q_offset + i);
      ranges.push_back(RangeOf(v, v.q_offset + i, begins[p], ends[p], n_key));
    }
  }
  return ranges;
}

std::vector<float> ToFloats(std::span<const double> x, double factor) {
  std::vector<float> y;
  y.reserve(x.size());
  for (const double number : x) y.push_back(static_cast<float>(number * factor));
  return y;
}

}  // namespace

TileRange TilesOf(std::span<const KeyRange> rows) {
  std::int64_t begin = -1, end = 0, sink_begin = -1, sink_end = 0;
  const auto least = [](std::int64_t a, std::int64_t b) { return a < 0 ? b : std::min(a, b); };
  for (const KeyRange& row : rows) {
    if (row.begin < row.end) {
      begin = least(begin, row.begin);
      end = std::max<std::int64_t>(end, row.end);
    }
    if (row.sink_begin < row.sink_end) {
      sink_begin = least(sink_begin, row.sink_begin);
      sink_end = std::max<std::int64_t>(sink_end, row.sink_end);
    }
  }
  TileRange tiles;
  if (begin >= 0) {
    tiles.begin = begin / kKeyTile;
    tiles.end = (end + kKeyTile - 1) / kKeyTile;
  }
  if (sink_begin >= 0) {
    tiles.sink_begin = sink_begin / kKeyTile;
    tiles.sink_end = (sink_end + kKeyTile - 1) / kKeyTile;
    if (begin >= 0) {
      tiles.sinks_apart = tiles.sink_end <= tiles.begin;
      tiles.sink_end = std::min(tiles.sink_end, tiles.begin);
    }
    tiles.sink_begin = std::min(tiles.sink_begin, tiles.sink_end);
  }
  return tiles;
}

TileRows RowsOf(std::span<const KeyRange> rows, std::int64_t key_begin) {
  const std::int64_t key_end = key_begin + kKeyTile;
  TileRows tile = {.begin = -1};
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const KeyRange& row = rows[r];
    const bool in_range = row.begin < key_end && row.end > key_begin && row.begin < row.end;
    const bool in_sinks =
        row.sink_begin < key_end && row.sink_end > key_begin && row.sink_begin < row.sink_end;
    if (!in_range && !in_sinks) continue;
    if (tile.begin < 0) tile.begin = static_cast<std::int64_t>(r);
    tile.end = static_cast<std::int64_t>(r) + 1;
  }
  if (tile.begin < 0) return {};
  // A row in between that sees nothing here (because of documents) must be masked, too.
  for (std::int64_t r = tile.begin; r < tile.end; ++r) {
    const KeyRange& row = rows[static_cast<std::size_t>(r)];
    if (row.begin > key_begin || row.end < key_end) tile.masked = true;
  }
  return tile;
}

TileSpans SpansOf(std::span<const KeyRange> rows, std::int64_t key_begin, const TileRows& tile) {
  TileSpans spans;
  if (!tile.masked) {
    spans.keys.fill({.begin = 0, .end = static_cast<std::int32_t>(kKeyTile)});
    const auto end = static_cast<std::int32_t>(RoundUp(tile.end, kRowBlock));
    spans.rows.fill(
        {.begin = static_cast<std::int32_t>(tile.begin / kRowBlock * kRowBlock), .end = end});
    return spans;
  }
  const auto widen = [&](Span& keys, std::int32_t begin, std::int32_t end) {
    const std::int64_t from = std::max<std::int64_t>(begin - key_begin, 0);
    const std::int64_t to = std::min(end - key_begin, kKeyTile);
    if (from >= to) return;
    const bool is_first = keys.begin >= keys.end;
    keys.begin = is_first ? static_cast<std::int32_t>(from)
                          : std::min(keys.begin, static_cast<std::int32_t>(from));
    keys.end = std::max(keys.end, static_cast<std::int32_t>(to));
  };
  for (std::int64_t r = tile.begin; r < tile.end; ++r) {
    const KeyRange& row = rows[static_cast<std::size_t>(r)];
    Span& keys = spans.keys[static_cast<std::size_t>(r / kRowBlock)];
    widen(keys, row.begin, row.end);
    if (row.sink_begin < row.sink_end) widen(keys, row.sink_begin, row.sink_end);
  }
  for (std::size_t block = 0; block < spans.keys.size(); ++block) {
    Span& keys = spans.keys[block];
    keys.begin = static_cast<std::int32_t>(keys.begin / kKeyBlock * kKeyBlock);
    keys.end = static_cast<std::int32_t>(RoundUp(keys.end, kKeyBlock));
    const auto row = static_cast<std::int32_t>(static_cast<std::int64_t>(block) * kRowBlock);
    for (std::int64_t key = keys.begin / kRowBlock * kRowBlock; key < keys.end; key += kRowBlock) {
      Span& of = spans.rows[static_cast<std::size_t>(key / kRowBlock)];
      if (of.begin >= of.end) of.begin = row;
      of.end = row + static_cast<std::int32_t>(kRowBlock);
    }
  }
  return spans;
}

AttentionPlan::AttentionPlan(const AttentionInputs& inputs, const AttentionTerms& the_terms)
    : terms(the_terms),
      batch(inputs.q.batch),
      n_head(inputs.q.n_head),
      n_kv_head(inputs.k.n_head),
      n_query(inputs.q.n_row),
      n_key(inputs.k.n_row),
      head_dim(inputs.q.head_dim),
      width(RoundUp(head_dim, kChannelStep)),
      n_query_tile((n_query + kQueryTile - 1) / kQueryTile),
      n_key_tile((n_key + kKeyTile - 1) / kKeyTile),
      group(n_head / n_kv_head),
      n_region(std::max<std::int64_t>(1, static_cast<std::int64_t>(terms.regions.size()))),
      ranges(AllRanges(terms.visibility, batch, n_query, n_key)),
      ranges_are_shared(terms.visibility.document_begin.empty()) {
  FindKeySets();
  if (terms.rotation) {
    cos = ToFloats(terms.rotation->cos, 1.0);
    sin = ToFloats(terms.rotation->sin, 1.0);
  }
  // Whole tiles are read, including rows and keys beyond the end.
  reversed_zero = FromFirstKey(n_query) + kQueryTile;
  n_reversed = n_query + kQueryTile + n_key + kKeyTile;
  if (terms.distance_table) {
    const DistanceTable& table = *terms.distance_table;
    distances.reserve(static_cast<std::size_t>(n_head * n_reversed));
    for (std::int64_t h = 0; h < n_head; ++h) {
      for (std::int64_t m = 0; m < n_reversed; ++m) {
        const std::int64_t entry =
            std::clamp<std::int64_t>(reversed_zero - m + table.n_ahead, 0, table.n_distance - 1);
        const double number = table.values[static_cast<std::size_t>(h * table.n_distance + entry)];
        distances.push_back(static_cast<float>(number * kLog2E));
        distances_are_finite = distances_are_finite && std::isfinite(distances.back());
      }
    }
  }
  if (terms.piecewise) {
    const PiecewiseLinear& f = *terms.piecewise;
    const auto n_psi = static_cast<std::int64_t>(f.psi.size());
    psi.reserve(static_cast<std::size_t>(n_reversed));
    for (std::int64_t m = 0; m < n_reversed && n_psi > 0; ++m) {
      const std::int64_t distance = std::min(std::abs(m - reversed_zero), n_psi - 1);
      psi.push_back(static_cast<float>(f.psi[static_cast<std::size_t>(distance)]));
    }
    knots = ToFloats(f.knots, 1.0);
    slope = ToFloats(f.slope, kLog2E);
    intercept = ToFloats(f.intercept, kLog2E);
  }
}

void AttentionPlan::FindKeySets() {
  const auto share = [&](std::int64_t a, std::int64_t b) {
    const Region& x = terms.regions[static_cast<std::size_t>(a)];
    const Region& y = terms.regions[static_cast<std::size_t>(b)];
    if (x.key_row.data() != y.key_row.data() || x.blended.has_value() != y.blended.has_value()) {
      return false;
    }
    return !x.blended || (x.blended->row.data() == y.blended->row.data() &&
                          x.blended->weight.data() == y.blended->weight.data());
  };
  for (std::int64_t region = 0; region < n_region; ++region) {
    std::size_t set = 0;
    while (set < key_set_region.size() && !share(region, key_set_region[set])) ++set;
    if (set == key_set_region.size()) key_set_region.push_back(region);
    key_set.push_back(static_cast<std::int64_t>(set));
  }
}

AttentionPlan::KeySpan AttentionPlan::RegionKeys(std::int64_t region, std::int64_t i) const {
  const auto begin_of = [&](std::int64_t r) -> std::int64_t {
    return terms.regions[static_cast<std::size_t>(r)].key_begin[static_cast<std::size_t>(i)];
  };
  return {.begin = region + 1 < n_region ? begin_of(region) : 0,
          .end = region > 0 ? begin_of(region - 1) : n_key};
}

AttentionPlan::KeySpan AttentionPlan::RegionKeys(std::int64_t region, std::int64_t begin,
                                                 std::int64_t end) const {
  KeySpan all = {.begin = n_key, .end = 0};
  for (std::int64_t i = begin; i < end; ++i) {
    const KeySpan keys = RegionKeys(region, i);
    if (keys.begin >= keys.end) continue;
    all = {.begin = std::min(all.begin, keys.begin), .end = std::max(all.end, keys.end)};
  }
  return all;
}

std::int64_t AttentionPlan::KeyAt(std::int64_t i) const {
  return std::clamp<std::int64_t>(FromFirstKey(i), 0, n_key - 1);
}

}  // namespace longrun
