// Which keys a block of queries visits, which queries a block of keys, and which pairs of a tile
// are hidden: for calls with few terms, which may have a mask (a window, documents or both).
#pragma once

#include "kernels/cuda/terms-inl.h"

namespace longrun {
namespace gpu {

// The keys [0, n) that the tile of queries from i_0 sees, or fewer.
template <typename Params>
LR_DEVICE int VisibleKeys(const Params& p, int i_0, int n_row) {
  const int last_query = Min(i_0 + n_row, p.n_query) - 1;
  return p.causal != 0 ? Max(0, Min(p.distance + last_query + 1, p.n_key)) : p.n_key;
}

// The position after the last one of the document that has `position`. All lanes of a warp look
// together: three loads, one after the other, find it among 32,768 positions.
template <typename Layer, typename Params>
LR_DEVICE int DocumentEnd(const Params& p, int b, int position) {
  const std::int32_t* const begins = DocumentsOf(p, b);
  const int own = begins[position], lane = Layer::Thread() % 32;
  int within = position, beyond = p.n_position;
  LR_ROLL
  while (beyond - within > 1) {
    const int step = (beyond - within + 31) / 32, at = within + (lane + 1) * step;
    const int first = Layer::WarpMin(at >= beyond || begins[at] > own ? lane : 31);
    beyond = Min(beyond, within + (first + 1) * step);
    within += first * step;
  }
  return beyond;
}

// The tiles of keys that a block of queries visits, from the last one to `first`. Each has kColumns
// keys.
template <typename Layer, typename Params, int kColumns>
class KeyTiles {
 public:
  // Of queries [i_0, i_0 + n_row).
  LR_DEVICE KeyTiles(const Params& p, int b, int h, int i_0, int n_row) {
    int n_key = VisibleKeys(p, i_0, n_row);
    if constexpr (Params::kHasMask) {
      const int i_1 = Min(i_0 + n_row, p.n_query) - 1;
      int first_begin = 0;  // of the first query's document; others begin behind this query
      if (p.document_begin != nullptr) {
        first_begin = DocumentsOf(p, b)[p.q_offset + i_0];
        if (p.causal == 0) {
          n_key = Min(n_key, Max(0, DocumentEnd<Layer>(p, b, p.q_offset + i_1) - p.k_offset));
        }
      }
      int oldest = Max(0, first_begin - p.k_offset);
      first = oldest / kColumns;
      if (p.window > 0) {
        n_key = Min(n_key, Max(0, p.distance + i_1 + p.window));
        const int n_sink = p.n_sink > 0 ? Min(first_begin + p.n_sink - p.k_offset, p.n_key) : 0;
        oldest = Max(oldest, p.distance + i_0 - p.window + 1);
        of_window_ = oldest / kColumns;
        of_sinks_ = n_sink > 0 ? (n_sink - 1) / kColumns : -1;
        if (n_sink <= 0) first = of_window_;
      }
    }
    n = (n_key + kColumns - 1) / kColumns;
    if constexpr (Params::kHasMask) {
      first = Max(first, FirstKey(p, b, h, i_0) / kColumns);  // a call with sinks skips no key
      if (n <= first) n = 0;
    } else {
      first = FirstKey(p, b, h, i_0) / kColumns;
    }
  }
  // The tile after `tile`; less than `first`: none. Tiles that a window hides are passed over. A
  // tile's place is its number modulo 2, and the next one's has to be the other: it may be one that
  // is hidden.
  LR_DEVICE int Next(int tile) const {
    const int next = tile - 1;
    if constexpr (Params::kHasMask) {
      if (next >= of_window_ || next <= of_sinks_) return next;
      return Max(of_sinks_, first - 1) + (tile - Max(of_sinks_, first - 1) + 1) % 2;
    }
    return next;
  }

  int n = 0;  // the last tile is n - 1; 0: none is visited
  int first = 0;

 private:
  int of_window_ = 0, of_sinks_ = -1;  // the first tile of the window, and the last of the sinks
};

// The queries [begin, end).
struct QueryRange {
  int begin = 0, end = 0;
};

// The queries that may see keys [j_0, j_0 + n_row), of a call with a window or documents. All lanes
// of a warp call it together.
template <typename Layer, typename Params>
LR_DEVICE QueryRange MaskedQueries(const Params& p, int b, int j_0, int n_row) {
  const int j_1 = Min(j_0 + n_row, p.n_key) - 1;
  int begin = p.causal != 0 ? j_0 - p.distance : 0, end = p.n_query;
  int last_begin = 0;  // of the last key's document
  if (p.document_begin != nullptr) {
    const std::int32_t* const begins = DocumentsOf(p, b);
    last_begin = begins[p.k_offset + j_1];
    begin = Max(begin, begins[p.k_offset + j_0] - p.q_offset);
    end = Min(end, DocumentEnd<Layer>(p, b, p.k_offset + j_1) - p.q_offset);
  }
  if (p.window > 0) {
    begin = Max(begin, j_0 - p.distance - p.window + 1);
    // A document that begins in the block has its sinks there.
    const bool has_sinks = p.n_sink > 0 && p.k_offset + j_0 < last_begin + p.n_sink;
    if (!has_sinks) end = Min(end, j_1 - p.distance + p.window);
  }
  QueryRange queries;
  queries.begin = Max(begin, 0);
  queries.end = end;
  return queries;
}

// ---- pairs -------------------------------------------------------------------------------------

// Calls visit(m, n, e) for each of a thread's scores, groups of columns outermost.
template <int kFragments, int kColumns, typename Visit>
LR_DEVICE void ForScores(const Visit& visit) {
  LR_UNROLL
  for (int n = 0; n < kColumns / 8; ++n) {
    LR_UNROLL
    for (int m = 0; m < kFragments; ++m) {
      LR_UNROLL
      for (int e = 0; e < 4; ++e) visit(m, n, e);
    }
  }
}

// Writes `to` where a query does not see a key, or one of them does not exist, in a call without a
// mask. Rows beyond the last query stay, unless kSumsRows says that the kernel adds rows together.
template <typename Layer, bool kKeysAreRows, bool kSumsRows, int kFragments, int kGroups,
          typename Params>
LR_DEVICE void HideUnmasked(const Params& p, int i_0, int j_0, float to,
                            float (&x)[kFragments][kGroups][4]) {
  const int g = Layer::Thread() % 32 / 4, t = Layer::Thread() % 4;
  LR_UNROLL
  for (int m = 0; m < kFragments; ++m) {
    LR_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int row = 16 * m + 8 * half + g;
      // The columns [begin, end) of the row are visible.
      int begin = 0, end = 8 * kGroups;
      if (kKeysAreRows) {
        const int j = j_0 + row;
        if (p.causal != 0) begin = j - p.distance - i_0;
        end = j < p.n_key ? p.n_query - i_0 : 0;
      } else {
        end = (p.causal != 0 ? Min(p.distance + i_0 + row + 1, p.n_key) : p.n_key) - j_0;
        if (kSumsRows && i_0 + row >= p.n_query) end = 0;
      }
      LR_UNROLL
      for (int n = 0; n < kGroups; ++n) {
        LR_UNROLL
        for (int e = 0; e < 2; ++e) {
          const int column = 8 * n + 2 * t + e;
          if (column < begin || column >= end) x[m][n][2 * half + e] = to;
        }
      }
    }
  }
}

// The same in a call with a mask, where the pairs are scores. Returns a bit for each pair that it
// hid, in the order of x.
template <typename Layer, bool kKeysAreRows, int kFragments, int kGroups, typename Params>
LR_DEVICE std::uint32_t HideMasked(const Params& p, int b, int i_0, int j_0,
                                   float (&x)[kFragments][kGroups][4]) {
  b = Layer::Opaque(b);
  i_0 = Layer::Opaque(i_0);
  j_0 = Layer::Opaque(j_0);
  const int thread = Layer::Opaque(Layer::Thread()), g = thread % 32 / 4, t = thread % 4;
  const int n_row = kKeysAreRows ? p.n_key - j_0 : p.n_query - i_0;
  const int n_column = kKeysAreRows ? p.n_query - i_0 : p.n_key - j_0;
  // Where the document of a row or a column begins.
  const auto begin_of = [&](bool is_key, int at) {
    const int position = is_key ? p.k_offset + j_0 + at : p.q_offset + i_0 + at;
    return p.document_begin == nullptr ? 0 : DocumentsOf(p, b)[position];
  };
  static_assert(kFragments * kGroups * 4 <= 32);
  std::uint32_t hidden = 0;
  int of_row[kFragments][2];
  LR_UNROLL
  for (int m = 0; m < kFragments; ++m) {
    LR_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int row = 16 * m + 8 * half + g;
      of_row[m][half] = row < n_row ? begin_of(kKeysAreRows, row) : -1;
    }
  }
  LR_UNROLL
  for (int n = 0; n < kGroups; ++n) {
    LR_UNROLL
    for (int e = 0; e < 2; ++e) {
      const int column = 8 * n + 2 * t + e;
      const int begin = column < n_column ? begin_of(!kKeysAreRows, column) : -2;
      LR_UNROLL
      for (int m = 0; m < kFragments; ++m) {
        LR_UNROLL
        for (int half = 0; half < 2; ++half) {
          const int row = 16 * m + 8 * half + g;
          const int distance =
              p.distance + i_0 - j_0 + (kKeysAreRows ? column - row : row - column);
          const int key = p.k_offset + j_0 + (kKeysAreRows ? row : column);
          bool sees = of_row[m][half] == begin && (p.causal == 0 || distance >= 0);
          if (p.window > 0 && (distance >= p.window || distance <= -p.window)) {
            sees = sees && key < begin + p.n_sink;
          }
          if (sees) continue;
          x[m][n][2 * half + e] = kHidden;
          hidden |= 1U << ((m * kGroups + n) * 4 + 2 * half + e);
        }
      }
    }
  }
  return hidden;
}

// Hides scores of a tile that is not whole: writes kHidden where a query does not see a key, or one
// of them does not exist. A warp's scores begin at query i_0 and key j_0. Returns what
// HideGradients needs to know.
template <typename Layer, bool kKeysAreRows, bool kSumsRows, int kFragments, int kGroups,
          typename Params>
LR_DEVICE std::uint32_t HideScores(const Params& p, const TileView& view, int b, int i_0, int j_0,
                                   float (&s)[kFragments][kGroups][4]) {
  if (view.is_whole) return 0;
  if constexpr (Params::kHasMask) return HideMasked<Layer, kKeysAreRows>(p, b, i_0, j_0, s);
  HideUnmasked<Layer, kKeysAreRows, kSumsRows>(p, i_0, j_0, kHidden, s);
  return 0;
}
// Writes 0 for the gradients of those scores, which may not be finite. Without a mask, it finds the
// pairs again, which takes no register in between.
template <typename Layer, bool kKeysAreRows, bool kSumsRows, int kFragments, int kGroups,
          typename Params>
LR_DEVICE void HideGradients(const Params& p, const TileView& view, std::uint32_t hidden, int i_0,
                             int j_0, float (&ds)[kFragments][kGroups][4]) {
  if constexpr (Params::kHasMask) {
    if (hidden == 0) return;
    ForScores<kFragments, 8 * kGroups>([&](int m, int n, int e) {
      if ((hidden >> ((m * kGroups + n) * 4 + e) & 1U) != 0) ds[m][n][e] = 0.0F;
    });
  } else if (!view.is_whole) {
    HideUnmasked<Layer, kKeysAreRows, kSumsRows>(p, i_0, j_0, 0.0F, ds);
  }
}

}  // namespace gpu
}  // namespace longrun
