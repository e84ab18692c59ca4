// The terms of a tile: which of its pairs are visible, their biases, and dropout.
#pragma once

#include "kernels/cuda/device.h"

namespace longrun {
namespace gpu {

// ---- visibility --------------------------------------------------------------------------------

// Where the document of each position of sequence b begins.
template <typename Params>
LR_DEVICE const std::int32_t* DocumentsOf(const Params& p, int b) {
  return p.document_begin + static_cast<std::int64_t>(b) * p.n_position;
}

struct TileView {
  bool is_hidden = false;  // no pair is visible
  bool is_whole = false;   // every pair is
};

// Of queries [i_0, i_0 + n_i) and keys [j_0, j_0 + n_j). A tile that is not hidden may still have
// no visible pair.
template <typename Params>
LR_DEVICE TileView ViewOf(const Params& p, int b, int i_0, int n_i, int j_0, int n_j) {
  const int i_1 = Min(i_0 + n_i, p.n_query) - 1, j_1 = Min(j_0 + n_j, p.n_key) - 1;
  TileView view;
  if (i_0 > i_1 || j_0 > j_1) {
    view.is_hidden = true;
    return view;
  }
  const int nearest = p.distance + i_0 - j_1, farthest = p.distance + i_1 - j_0;
  int first_begin = 0, last_begin = 0;  // of the documents of the first and the last query
  // What only kernels ask for that are made for documents: others have no registers left for it.
  bool is_later_document = false, is_one_document = p.document_begin == nullptr;
  if (p.document_begin != nullptr) {
    const std::int32_t* const begins = DocumentsOf(p, b);
    first_begin = begins[p.q_offset + i_0];
    last_begin = begins[p.q_offset + i_1];
    if constexpr (Params::kHasMask) {
      const int key_begin = begins[p.k_offset + j_0];
      is_later_document = key_begin > last_begin;
      is_one_document = key_begin == last_begin && begins[p.k_offset + j_1] == first_begin;
    }
  }
  const bool beyond_window = p.window > 0 && (nearest >= p.window || farthest <= -p.window) &&
                             p.k_offset + j_0 >= last_begin + p.n_sink;
  view.is_hidden = (p.causal != 0 && farthest < 0) || beyond_window ||
                   p.k_offset + j_1 < first_begin || is_later_document;
  view.is_whole = is_one_document && i_0 + n_i <= p.n_query && j_0 + n_j <= p.n_key &&
                  (p.causal == 0 || nearest >= 0) &&
                  (p.window == 0 || (farthest < p.window && nearest > -p.window));
  return view;
}

// The first key that the tile of queries from i_0 visits (skip-inl.h).
template <typename Params>
LR_DEVICE int FirstKey(const Params& p, int b, int h, int i_0) {
  if (p.first_key == nullptr) return 0;
  const std::int64_t head = static_cast<std::int64_t>(b) * p.n_head + h;
  return p.first_key[head * VisitedBlocks(p.n_query) + i_0 / kVisitedQueries];
}

// No query from here on visits the tile of keys from j_0.
template <typename Params>
LR_DEVICE int QueryEnd(const Params& p, int b, int h, int j_0) {
  if (p.first_key == nullptr) return p.n_query;
  const std::int64_t head = static_cast<std::int64_t>(b) * p.n_head + h;
  return p.query_end[head * SkipTiles(p.n_key) + j_0 / kSkipTile];
}

// ---- numbers of queries and keys ---------------------------------------------------------------

// c_j, or r_j.
template <typename Params>
LR_DEVICE double KeyNumber(const Params& p, int b, int h, int j) {
  if (p.key_slope != nullptr) return p.key_slope[h] * static_cast<double>(p.k_offset + j);
  const std::int64_t head = static_cast<std::int64_t>(b) * p.n_head + h;
  if (p.key_values != nullptr) return p.key_values[head * p.n_key + j];
  constexpr int kAnchorKeys = 128;  // KeyBias::kAnchorKeys
  const int n_anchor = (p.n_key + kAnchorKeys - 1) / kAnchorKeys;
  return p.key_anchor[head * n_anchor + j / kAnchorKeys] +
         static_cast<double>(p.key_local[head * p.n_key + j]);
}

// The key at the position of query i, or the nearest key.
template <typename Params>
LR_DEVICE int KeyAt(const Params& p, int i) {
  return Max(0, Min(p.distance + i, p.n_key - 1));
}

// What is subtracted from the key bias, in double, for the tile of kRows queries that has query i:
// fp32 then holds what is left.
template <typename Params>
LR_DEVICE double AnchorOf(const Params& p, int b, int h, int i) {
  if (p.has_key_bias == 0 || p.n_key == 0) return 0.0;
  return KeyNumber(p, b, h, KeyAt(p, i / kRows * kRows));
}

// The number of key j, less the anchor, in base 2. Keys beyond the last one have 0.
template <typename Params>
LR_DEVICE float AnchoredNumber(const Params& p, int b, int h, int j, double anchor) {
  const double number = j < p.n_key ? KeyNumber(p, b, h, j) - anchor : 0.0;
  return static_cast<float>(number * kLog2E);
}

// What scores, and so lse, lack because of the anchor. A two-sided bias is a difference, which has
// no anchor.
template <typename Params>
LR_DEVICE double LseAnchor(const Params& p, double anchor) {
  return p.two_sided != 0 ? 0.0 : anchor;
}

// What a tile's queries and keys have one number of each.
template <typename Layer>
struct TileNumbers {
  static constexpr int kBytes = 7 * kRows * 4;
  LR_DEVICE explicit TileNumbers(typename Layer::Arena& arena)
      : key_bias(arena.template Take<float>(kRows)),
        own_bias(arena.template Take<float>(kRows)),
        factor(arena.template Take<float>(kRows)),
        lse(arena.template Take<float>(kRows)),
        delta(arena.template Take<float>(kRows)),
        query_begin(arena.template Take<int>(kRows)),
        key_begin(arena.template Take<int>(kRows)) {}
  // Of forward, for n_query queries.
  LR_DEVICE TileNumbers(typename Layer::Arena& arena, int n_query, int n_key_bias, int n_key_begin)
      : key_bias(arena.template Take<float>(n_key_bias)),
        own_bias(arena.template Take<float>(n_query)),
        factor(arena.template Take<float>(n_query)),
        query_begin(arena.template Take<int>(n_query)),
        key_begin(arena.template Take<int>(n_key_begin)) {}

  // Fills in the numbers of keys [j_0, j_0 + n), if a term has any.
  template <typename Params>
  LR_DEVICE void ReadKeys(const Params& p, int b, int h, int j_0, int n, double anchor) const {
    const int n_read = p.has_key_bias != 0 || p.document_begin != nullptr ? n : 0;
    for (int at = Layer::Thread(); at < n_read; at += kThreads) {
      ReadKey(p, b, h, j_0 + at, at, anchor);
    }
  }
  template <typename Params>
  LR_DEVICE void ReadKey(const Params& p, int b, int h, int j, int at, double anchor) const {
    const bool exists = j < p.n_key;
    // Not AnchoredNumber(), with which nvcc gives the kernel of few queries more registers.
    if (p.has_key_bias != 0) {
      const double bias = exists ? (KeyNumber(p, b, h, j) - anchor) * kLog2E : 0.0;
      key_bias.Set(at, static_cast<float>(bias));
    }
    if (p.document_begin != nullptr) key_begin.Set(at, exists ? Begin(p, b, p.k_offset + j) : 0);
  }
  // Fills in the numbers of queries [i_0, i_0 + n), if a term has any.
  template <typename Params>
  LR_DEVICE void ReadQueries(const Params& p, int b, int h, int i_0, int n, double anchor) const {
    const bool is_needed = p.two_sided != 0 || p.has_piecewise != 0 || p.document_begin != nullptr;
    const int n_read = is_needed ? n : 0;
    for (int at = Layer::Thread(); at < n_read; at += kThreads) {
      ReadQuery(p, b, h, i_0 + at, at, anchor);
    }
  }
  template <typename Params>
  LR_DEVICE void ReadQuery(const Params& p, int b, int h, int i, int at, double anchor) const {
    float own = 0.0F, row_factor = 0.0F;
    int begin = 0;
    if (i < p.n_query) {
      if (p.two_sided != 0) {
        own = AnchoredNumber(p, b, h, KeyAt(p, i), anchor);
      }
      if (p.has_piecewise != 0) row_factor = p.row_factor[p.q_offset + i];
      if (p.document_begin != nullptr) begin = Begin(p, b, p.q_offset + i);
    }
    own_bias.Set(at, own);
    factor.Set(at, row_factor);
    query_begin.Set(at, begin);
  }
  // Fills in what backward needs of queries [i_0, i_0 + n) beside that. A row that saw no key has
  // an lse of -infinity; 0 then makes its probabilities 0.
  template <typename Params>
  LR_DEVICE void ReadStatistics(const Params& p, int b, int h, int i_0, int n,
                                double anchor) const {
    const std::int64_t first = (static_cast<std::int64_t>(b) * p.n_head + h) * p.n_query + i_0;
    for (int at = Layer::Thread(); at < n; at += kThreads) {
      const bool exists = i_0 + at < p.n_query;
      const double sum = exists ? ReadNumber(p.lse, first + at) : 0.0;
      lse.Set(at, sum == static_cast<double>(kHidden)
                      ? 0.0F
                      : static_cast<float>((sum - LseAnchor(p, anchor)) * kLog2E));
      delta.Set(at, exists ? p.delta[first + at] : 0.0F);
    }
  }

  typename Layer::template Shared<float> key_bias, own_bias, factor, lse, delta;
  typename Layer::template Shared<int> query_begin, key_begin;

 private:
  template <typename Params>
  static LR_DEVICE int Begin(const Params& p, int b, int position) {
    return DocumentsOf(p, b)[position];
  }
};

// ---- scores ------------------------------------------------------------------------------------

// A pair of a tile: the query and the key, and their numbers in the tile.
struct Pair {
  int i = 0, j = 0;
  int at_i = 0, at_j = 0;
};

template <typename Layer, typename Params>
LR_DEVICE bool Sees(const Params& p, const TileNumbers<Layer>& numbers, const Pair& pair) {
  if (pair.i >= p.n_query || pair.j >= p.n_key) return false;
  const int distance = p.distance + pair.i - pair.j;
  if (p.causal != 0 && distance < 0) return false;
  int begin = 0;
  if (p.document_begin != nullptr) {
    begin = numbers.query_begin.Get(pair.at_i);
    if (numbers.key_begin.Get(pair.at_j) != begin) return false;
  }
  if (p.window == 0 || (distance < p.window && distance > -p.window)) return true;
  return p.k_offset + pair.j < begin + p.n_sink;
}

// How many knots, which ascend, are at most u.
template <typename Params>
LR_DEVICE int SegmentOf(const Params& p, float u) {
  int first = 0, last = p.n_knot;
  while (first < last) {
    const int middle = (first + last) / 2;
    const bool is_after = p.knots[middle] <= u;
    first = is_after ? middle + 1 : first;
    last = is_after ? last : middle;
  }
  return first;
}

// The bias of a visible pair, in base 2.
template <typename Layer, typename Params>
LR_DEVICE float BiasOf(const Params& p, int h, const TileNumbers<Layer>& numbers,
                       const Pair& pair) {
  const int distance = p.distance + pair.i - pair.j;
  float bias = p.has_key_bias != 0 ? numbers.key_bias.Get(pair.at_j) : 0.0F;
  if (p.two_sided != 0) {
    const float left = numbers.own_bias.Get(pair.at_i) - bias;
    bias = distance >= 0 ? left : -left;
  }
  if (p.table != nullptr) {
    const int entry = Max(0, Min(distance + p.n_ahead, p.n_distance - 1));
    bias += p.table[static_cast<std::int64_t>(h) * p.n_distance + entry];
  }
  if (p.has_piecewise != 0) {
    const float u = p.psi[distance < 0 ? -distance : distance] * numbers.factor.Get(pair.at_i);
    const int segment = h * (p.n_knot + 1) + SegmentOf(p, u);
    bias += p.slope[segment] * u + p.intercept[segment];
  }
  return bias;
}

// The pair of element c[n][e] (device.h) of a warp. The rows of c begin at `row` of the tile; they
// are keys if kKeysAreRows, else queries.
template <typename Layer, bool kKeysAreRows>
LR_DEVICE Pair PairOf(int i_0, int j_0, int row, int n, int e) {
  const int g = Layer::Thread() % 32 / 4, t = Layer::Thread() % 4;
  const int r = row + g + 8 * (e / 2), c = 8 * n + 2 * t + e % 2;
  Pair pair;
  pair.at_i = kKeysAreRows ? c : r;
  pair.at_j = kKeysAreRows ? r : c;
  pair.i = i_0 + pair.at_i;
  pair.j = j_0 + pair.at_j;
  return pair;
}

// Calls visit(n, e, pair) for each element of a warp's c.
template <typename Layer, bool kKeysAreRows, int kColumns, typename Visit>
LR_DEVICE void ForPairs(int i_0, int j_0, int row, Visit&& visit) {
  LR_UNROLL
  for (int n = 0; n < kColumns / 8; ++n) {
    LR_UNROLL
    for (int e = 0; e < 4; ++e) {
      visit(n, e, PairOf<Layer, kKeysAreRows>(i_0, j_0, row, n, e));
    }
  }
}

// The pairs for which has(pair) is true: bit 4 n + e for element c[n][e]. ForPairs has the code of
// its visit 32 times. A long test takes a loop that is not unrolled instead, which saves nvcc half
// of its time, and room in the instruction cache.
template <typename Layer, bool kKeysAreRows, int kColumns, typename Has>
LR_DEVICE std::uint32_t BitsOfPairs(int i_0, int j_0, int row, const Has& has) {
  static_assert(kColumns <= 64);
  std::uint32_t bits = 0;
  LR_ROLL
  for (int n = 0; n < kColumns / 8; ++n) {
    std::uint32_t of_four = 0;
    LR_UNROLL
    for (int e = 0; e < 4; ++e) {
      const Pair pair = PairOf<Layer, kKeysAreRows>(i_0, j_0, row, n, e);
      of_four |= has(pair) ? 1U << e : 0U;
    }
    bits |= of_four << 4 * n;
  }
  return bits;
}
LR_DEVICE bool HasBit(std::uint32_t bits, int n, int e) { return (bits >> (4 * n + e) & 1U) != 0; }

// Products become scores in base 2; hidden ones become kHidden.
template <typename Layer, bool kKeysAreRows, int kColumns, typename Params>
LR_DEVICE void AddTerms(const Params& p, int h, const TileNumbers<Layer>& numbers, bool is_whole,
                        int i_0, int j_0, int row, float (&s)[kColumns / 8][4]) {
  const bool has_bias = p.has_key_bias != 0 || p.table != nullptr || p.has_piecewise != 0;
  if (is_whole && !has_bias) {
    ForPairs<Layer, kKeysAreRows, kColumns>(i_0, j_0, row,
                                            [&](int n, int e, const Pair&) { s[n][e] *= p.scale; });
    return;
  }
  std::uint32_t visible = ~0U;
  if (!is_whole) {
    visible = BitsOfPairs<Layer, kKeysAreRows, kColumns>(
        i_0, j_0, row, [&](const Pair& pair) { return Sees(p, numbers, pair); });
  }
  // A bias that depends on the key alone, or none.
  if (p.two_sided == 0 && p.table == nullptr && p.has_piecewise == 0) {
    ForPairs<Layer, kKeysAreRows, kColumns>(i_0, j_0, row, [&](int n, int e, const Pair& pair) {
      const float bias = p.has_key_bias != 0 ? numbers.key_bias.Get(pair.at_j) : 0.0F;
      const float score = s[n][e] * p.scale + bias;
      s[n][e] = HasBit(visible, n, e) ? score : kHidden;
    });
    return;
  }
  ForPairs<Layer, kKeysAreRows, kColumns>(i_0, j_0, row, [&](int n, int e, const Pair& pair) {
    float score = kHidden;
    if (HasBit(visible, n, e)) score = s[n][e] * p.scale + BiasOf(p, h, numbers, pair);
    s[n][e] = score;
  });
}

// ---- dropout -----------------------------------------------------------------------------------

// One word of Philox4x32-10 (base/random.h), of the counter that kernels/dropout.h defines.
template <typename Params>
LR_DEVICE std::uint32_t DropoutWord(const Params& p, std::uint32_t head, int i, std::uint32_t block,
                                    int word) {
  constexpr std::uint64_t kM0 = 0xd2511f53U, kM1 = 0xcd9e8d57U;
  std::uint32_t c0 = block, c1 = static_cast<std::uint32_t>(i), c2 = head, c3 = p.dropout_offset;
  std::uint32_t key0 = p.seed_low, key1 = p.seed_high;
  LR_UNROLL
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = kM0 * c0, p1 = kM1 * c2;
    c0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ key0;
    c1 = static_cast<std::uint32_t>(p1);
    c2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ key1;
    c3 = static_cast<std::uint32_t>(p0);
    key0 += 0x9e3779b9U;
    key1 += 0xbb67ae85U;
  }
  return word == 0 ? c0 : word == 1 ? c1 : word == 2 ? c2 : c3;
}

// Whether dropout keeps a pair's probability.
template <typename Params>
LR_DEVICE bool IsKept(const Params& p, int b, int h, const Pair& pair) {
  const int t = p.k_offset + pair.j;
  const std::uint32_t word = DropoutWord(p, static_cast<std::uint32_t>(b * p.n_head + h), pair.i,
                                         static_cast<std::uint32_t>(t / 8), t % 8 / 2);
  const std::uint32_t bits = (t % 2 == 0 ? word : word >> 16) & 0xffffU;
  return bits >= p.dropout_threshold;
}

// z of a pair: 0, or the factor of kept probabilities.
template <typename Params>
LR_DEVICE float Kept(const Params& p, int b, int h, const Pair& pair) {
  return IsKept(p, b, h, pair) ? p.dropout_factor : 0.0F;
}

// Calls visit(n, e, pair, z) for each element of a warp's c.
template <typename Layer, bool kKeysAreRows, int kColumns, typename Params, typename Visit>
LR_DEVICE void ForKeptPairs(const Params& p, int b, int h, int i_0, int j_0, int row,
                            const Visit& visit) {
  const std::uint32_t kept = BitsOfPairs<Layer, kKeysAreRows, kColumns>(
      i_0, j_0, row, [&](const Pair& pair) { return IsKept(p, b, h, pair); });
  ForPairs<Layer, kKeysAreRows, kColumns>(i_0, j_0, row, [&](int n, int e, const Pair& pair) {
    visit(n, e, pair, HasBit(kept, n, e) ? p.dropout_factor : 0.0F);
  });
}

}  // namespace gpu
}  // namespace longrun
