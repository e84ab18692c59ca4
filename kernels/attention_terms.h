// Position terms of attention, in the form that kernels take: views of the caller's numbers.
//
//   s[b][h][i][j] = scale * <rotate(q_i, p), rotate(k_j, t)> + bias[b][h][i][j]
//                 = -inf where query i does not see key j
//   p = q_offset + i,  t = k_offset + j: the positions of the query and of the key in the text
//
// bias is the sum of the terms that are present; an absent term costs nothing.
//
// B batch, H heads, T_q queries, T_k keys, D head_dim, R rotary channels (even, R <= D).
// Numbers that belong to positions are double, on the host and on a GPU: in fp32, angles and prefix
// sums lose precision that attention needs (kernels/README.md), and there are few of them.
//
// A call may read only some of the text's keys, so that keys can be divided among calls (k_offset;
// merge.h). Every term counts positions of the text, then. Two terms do not allow it, and are
// refused by name (kUnimplemented):
//   key_bias, two-sided   needs the number of the query's own key, which is another call's
//   dropout               k_offset must be a multiple of 8: kernels choose 8 keys at once
// Regions and blended keys give every row and begin for the keys of the call, so they need no rule.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace longrun {

// Where numbers lie: in the memory of the host, or of one GPU.
struct MemorySpace {
  enum class Kind { kHost, kCuda };
  Kind kind = Kind::kHost;
  std::int32_t ordinal = 0;  // of the GPU
  bool operator==(const MemorySpace&) const = default;
};
std::string MemoryName(const MemorySpace& memory);  // "host memory", "the memory of GPU 1"

// Query i sees key j if all of these conditions that are set hold:
//   causal     t <= p
//   window w   |p - t| < w, or t is one of the first n_sink positions (of the document)
//   documents  p and t belong to the same document
struct Visibility {
  bool causal = true;
  std::int64_t q_offset = 0;  // the position of query 0; negative: the first queries see nothing
  std::int64_t k_offset = 0;  // the position of key 0; not negative
  std::int64_t window = 0;    // keys, including the query's own; 0: no window
  std::int64_t n_sink = 0;    // only with a window, and causal
  // (B, T_p), T_p = max(k_offset + T_k, q_offset + T_q): where the document of each position of the
  // text begins; empty: one document. With documents 0 <= q_offset.
  std::span<const std::int32_t> document_begin = {};
};

// Returns a row of Visibility::document_begin, with cu_seqlens.back() entries. Document d has the
// positions [cu_seqlens[d], cu_seqlens[d + 1]), and cu_seqlens[0] = 0.
std::vector<std::int32_t> DocumentBegins(std::span<const std::int32_t> cu_seqlens);

// One-sided: bias = c_j. A bias a_i + c_j is equivalent, since a_i is the same for all keys of row
// i and cancels in the softmax. For example, b_i - b_j is passed as c = -b.
// Two-sided: bias = r_p - r_j for j <= p, else r_j - r_p. Every query must then be at the position
// of a key: k_offset = 0, 0 <= q_offset, q_offset + T_q <= T_k.
//
// The numbers have one of three forms: `values`, `local` and `anchor`, or `slope`.
struct KeyBias {
  std::span<const double> values = {};  // (B, H, T_k): c, or r
  bool two_sided = false;
  // The second form needs less memory: c_j = anchor[j / kAnchorKeys] + local[j].
  static constexpr std::int64_t kAnchorKeys = 128;
  std::span<const float> local = {};    // (B, H, T_k)
  std::span<const double> anchor = {};  // (B, H, ceil(T_k / kAnchorKeys))
  // The third form: c_j = slope[h] t (ALiBi).
  std::span<const double> slope = {};  // (H)

  // c_j, or r_j, from numbers in host memory. `head` is b H + h.
  double At(std::int64_t head, std::int64_t n_head, std::int64_t n_key, std::int64_t k_offset,
            std::int64_t j) const {
    if (!slope.empty()) {
      return slope[static_cast<std::size_t>(head % n_head)] * static_cast<double>(k_offset + j);
    }
    const auto at = static_cast<std::size_t>(head * n_key + j);
    if (!values.empty()) return values[at];
    const std::int64_t n_anchor = (n_key + kAnchorKeys - 1) / kAnchorKeys;
    return anchor[static_cast<std::size_t>(head * n_anchor + j / kAnchorKeys)] +
           static_cast<double>(local[at]);
  }
};

// bias = values[h][distance p - t]. The table begins with the largest distance ahead (the most
// negative). A distance beyond either end takes the value at that end.
struct DistanceTable {
  std::span<const double> values = {};  // (H, n_distance)
  std::int64_t n_distance = 0;
  std::int64_t n_ahead = 0;  // entry 0 is distance -n_ahead; 0 if no query sees a key ahead
};

// bias = slope[h][s] u + intercept[h][s], where u = psi[|p - t|] row_factor[p] and s is the number
// of knots <= u. A network with one hidden layer of ReLUs over u (FIRE) is such a function.
// row_factor must cover every query's position.
struct PiecewiseLinear {
  std::span<const double> psi = {};         // (n >= the largest distance seen + 1)
  std::span<const double> row_factor = {};  // (n >= q_offset + T_q), by position
  std::span<const double> knots = {};       // (K), ascending; empty: one segment
  std::span<const double> slope = {};       // (H, K + 1)
  std::span<const double> intercept = {};   // (H, K + 1)
};

// The channels of a row are rotated in pairs; those from R on are unchanged.
//   kHalf:         y[c]  = x[c]  cos - x[c+R/2] sin,   y[c+R/2] = x[c+R/2] cos + x[c]  sin
//   kInterleaved:  y[2c] = x[2c] cos - x[2c+1]  sin,   y[2c+1]  = x[2c+1]  cos + x[2c] sin
struct RotationTable {
  enum class Layout { kHalf, kInterleaved };
  std::span<const double> cos, sin;  // (positions, R/2), of the angle position * frequency[c]
  std::int64_t n_rotary = 0;         // R
  Layout layout = Layout::kHalf;
  // (positions, R/2), or empty: factors by which queries are multiplied and keys divided (xPos).
  std::span<const double> growth = {};
  // (B, T_p), T_p as in Visibility: the row of the table to which the query and the key at each
  // position are rotated; empty: the position itself. Training that skips positions, like
  // PoSE (arXiv:2309.10400), gives each sequence its own rows. Must be empty with regions, which
  // have rows of their own.
  std::span<const std::int32_t> row = {};
};

// Keys rotated to two positions at once, given as rows of the rotation table:
//
//   rotate(k_j) = (1 - weight[j]) rotate(k_j, key_row[j]) + weight[j] rotate(k_j, row[j])
//
// so that the score is interpolated between the scores at two distances. In GALI
// (arXiv:2502.02659) positions need not be integers. GALI rounds a query's position up, to n_i, and
// combines the scores at the two integers next to a key's position p_j:
// (1 - r) s(n_i, ceil p_j) + r s(n_i, floor p_j), where r is the fraction of n_i - p_j. Since n_i
// is an integer, r = ceil(p_j) - p_j depends only on the key, so one blended key gives the combined
// score.
struct BlendedKeys {
  std::span<const std::int32_t> row = {};  // (T_k)
  std::span<const double> weight = {};     // (T_k), in [0, 1]
};

// Some of a query's keys, and the positions to which the query and these keys are rotated. Methods
// that let a rotary model read texts beyond its length without training need regions, since they
// place near and far keys at positions other than their own. Regions divide the keys of a query,
// from the nearest to the oldest. Key j of query i is in region r if
//
//   key_begin[r][i] <= j < key_begin[r - 1][i]     the first has no upper end,
//                                                  the last no lower one; j counts the call's keys
//
// where   s[i][j] = scale <rotate(q_i, query_row[r][i]), rotate(k_j, key_row[r][j])> + bias[i][j].
//
// A row is an index into the rotation table, whose angles may belong to any positions: a position
// such as 0.5 has a row of its own. All sequences of the batch and all heads have the same regions.
// Regions with the same key_row (and the same blending) share the rotated keys.
//
//   SelfExtend      arXiv:2401.01325: near keys unchanged, far ones at positions divided by a group
//   ReRoPE, Leaky   kexue.fm/archives/9708: far keys at one distance, or at distances divided by k
//   ChunkLlama      arXiv:2402.17463: keys at j mod c; the query's position depends on whether j is
//                   in the query's chunk, in the one before, or in an older one
//   StreamingLLM    arXiv:2309.17453, LM-Infinite arXiv:2308.16137: sinks beside a window
//
// For inference: regions have no gradient.
struct Region {
  std::span<const std::int32_t> key_begin = {};  // (T_q), in [0, T_k]; empty in the last region
  std::span<const std::int32_t> query_row = {};  // (T_q)
  std::span<const std::int32_t> key_row = {};    // (T_k)
  std::optional<BlendedKeys> blended = {};       // absent: only the row of key_row
};
inline constexpr std::size_t kRegionsMax = 3;

// p[i][j] is multiplied by 0 with the given probability, else by 1 / (1 - probability); the
// probability is rounded to steps of 2^-16. The choice is a function of (seed, offset, b, h, i, j)
// only: kernels/dropout.h.
struct Dropout {
  double probability = 0.0;  // in [0, 1)
  std::uint64_t seed = 0;
  std::uint32_t offset = 0;  // must differ between layers and steps
};

struct AttentionTerms {
  double scale = 0.0;  // scales the product, never the bias
  Visibility visibility = {};
  std::optional<KeyBias> key_bias = {};
  std::optional<RotationTable> rotation = {};
  std::span<const Region> regions = {};  // empty: queries are rotated to p and keys to t, or both
                                         // to rotation.row
  std::optional<DistanceTable> distance_table = {};
  std::optional<PiecewiseLinear> piecewise = {};
  std::optional<Dropout> dropout = {};
  MemorySpace memory = {};  // of all numbers that these terms view
};

}  // namespace longrun
