// The steps between the two products of a tile of scores: adding terms, hiding keys, and 2^x. A
// tile is kQueryTile x kKeyTile, row-major; row r is query r of the tile.
#if defined(LONGRUN_KERNELS_CPU_SCORES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LONGRUN_KERNELS_CPU_SCORES_INL_H_
#undef LONGRUN_KERNELS_CPU_SCORES_INL_H_
#else
#define LONGRUN_KERNELS_CPU_SCORES_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <span>

#include "hwy/highway.h"
#include "kernels/cpu/plan.h"
#include "kernels/cpu/vector-inl.h"
#include "kernels/dropout.h"

HWY_BEFORE_NAMESPACE();
namespace longrun {
namespace HWY_NAMESPACE {

inline constexpr float kHidden = -std::numeric_limits<float>::infinity();
// The scores of rows that see no key are taken relative to this, so that 2^x is 0.
inline constexpr float kNothingSeen = 1e30F;
inline constexpr int kRowVectors = static_cast<int>(kKeyTile / kLanes);

// A tile and its place in the call.
struct Tile {
  std::int64_t b, h;
  std::int64_t query_begin;  // index of row 0 among the call's queries
  std::int64_t key_begin;
  TileRows rows;
  TileSpans spans;

  // The vectors of row r that hold its visited keys.
  Span Vectors(std::int64_t r) const {
    const Span& keys = spans.keys[static_cast<std::size_t>(r / kRowBlock)];
    return {.begin = static_cast<std::int32_t>(keys.begin / kLanes),
            .end = static_cast<std::int32_t>(keys.end / kLanes)};
  }
};

// The key bias of a tile's keys, relative to `anchor`, in base 2.
HWY_NOINLINE void KeyBiasOf(const AttentionPlan& plan, const Tile& tile, double anchor,
                            float* HWY_RESTRICT bias) {
  const KeyBias& term = *plan.terms.key_bias;
  const std::int64_t n = std::min(kKeyTile, plan.n_key - tile.key_begin);
  std::fill(bias, bias + kKeyTile, 0.0F);
  const std::int64_t head = tile.b * plan.n_head + tile.h;
  if (!term.values.empty()) {
    const double* values = term.values.data() + head * plan.n_key + tile.key_begin;
    for (std::int64_t j = 0; j < n; ++j) {
      bias[j] = static_cast<float>((values[j] - anchor) * kLog2E);
    }
    return;
  }
  for (std::int64_t j = 0; j < n; ++j) {
    const double c = plan.KeyBiasAt(head, tile.key_begin + j);
    bias[j] = static_cast<float>((c - anchor) * kLog2E);
  }
}

// The anchor of a tile of queries: the number that is subtracted from the key bias there.
HWY_INLINE double AnchorOf(const AttentionPlan& plan, std::int64_t b, std::int64_t h,
                           std::int64_t query_begin) {
  if (!plan.terms.key_bias || plan.n_key == 0) return 0.0;
  return plan.KeyBiasAt(b * plan.n_head + h, plan.KeyAt(query_begin));
}

// x += sigma (r_p - r_j); `bias` holds r_j - anchor.
HWY_NOINLINE void AddTwoSided(const AttentionPlan& plan, const Tile& tile, double anchor,
                              const float* bias, float* scores) {
  const F f;
  const std::int64_t head = tile.b * plan.n_head + tile.h;
  for (std::int64_t r = tile.rows.begin; r < tile.rows.end; ++r) {
    const std::int64_t p = plan.KeyAt(tile.query_begin + r);
    const double r_p = plan.KeyBiasAt(head, p);
    const V own = hn::Set(f, static_cast<float>((r_p - anchor) * kLog2E));
    // Key j of the tile is at or before the query if j <= p - key_begin.
    const V last_left = hn::Set(f, static_cast<float>(p - tile.key_begin));
    float* x = scores + r * kKeyTile;
    for (int v = 0; v < kRowVectors; ++v) {
      const V j = hn::Iota(f, static_cast<float>(v * kLanes));
      const V difference = hn::Sub(own, hn::Load(f, bias + v * kLanes));
      const V signed_difference =
          hn::IfThenElse(hn::Le(j, last_left), difference, hn::Neg(difference));
      hn::Store(hn::Add(hn::Load(f, x + v * kLanes), signed_difference), f, x + v * kLanes);
    }
  }
}

// Whether the reader of the scores adds the biases by distance as it reads them, which saves a pass
// over the tile. It cannot do so if a piecewise term is added after them, or if a bias that is not
// finite could undo the -infinity of a hidden key.
HWY_INLINE bool ReaderAddsDistances(const AttentionPlan& plan, const Tile& tile) {
  return plan.terms.distance_table && !plan.terms.piecewise &&
         (!tile.rows.masked || plan.distances_are_finite);
}

// The biases by distance of row r; entry m belongs to key (key_begin + m).
HWY_INLINE const float* DistancesOf(const AttentionPlan& plan, const Tile& tile, std::int64_t r) {
  return plan.Distances(tile.h, plan.FromFirstKey(tile.query_begin + r), tile.key_begin);
}

HWY_NOINLINE void AddDistances(const AttentionPlan& plan, const Tile& tile, float* scores) {
  const F f;
  for (std::int64_t r = tile.rows.begin; r < tile.rows.end; ++r) {
    const float* table = DistancesOf(plan, tile, r);
    const Span vectors = tile.Vectors(r);
    float* x = scores + r * kKeyTile;
    for (int v = vectors.begin; v < vectors.end; ++v) {
      const V bias = hn::LoadU(f, table + v * kLanes);
      hn::Store(hn::Add(hn::Load(f, x + v * kLanes), bias), f, x + v * kLanes);
    }
  }
}

// The arguments u of a row, and the segments that they lie in.
struct Pieces {
  // Written out, so that it is compiled for this target, unlike an implicit constructor.
  HWY_INLINE Pieces() {}
  Kept u[kRowVectors];
  std::int64_t first = 0, last = 0;
};

HWY_INLINE Pieces PiecesOf(const AttentionPlan& plan, const Tile& tile, std::int64_t r) {
  const F f;
  const std::int64_t i = tile.query_begin + r;
  const auto p = static_cast<std::size_t>(plan.PositionOf(i));
  const float* psi = plan.Psi(plan.FromFirstKey(i), tile.key_begin);
  const V factor = hn::Set(f, static_cast<float>(plan.terms.piecewise->row_factor[p]));
  Pieces pieces;
  V least = hn::Mul(hn::LoadU(f, psi), factor);
  V largest = least;
  for (int v = 0; v < kRowVectors; ++v) {
    pieces.u[v] = hn::Mul(hn::LoadU(f, psi + v * kLanes), factor);
    least = hn::Min(least, pieces.u[v]);
    largest = hn::Max(largest, pieces.u[v]);
  }
  const float from = hn::GetLane(hn::MinOfLanes(f, least));
  const float to = hn::GetLane(hn::MaxOfLanes(f, largest));
  const auto segment = [&](float u) {
    return std::upper_bound(plan.knots.begin(), plan.knots.end(), u) - plan.knots.begin();
  };
  pieces.first = segment(from);
  pieces.last = segment(to);
  return pieces;
}

// The slope (or intercept) for each lane of u, whose segments lie in [pieces.first, pieces.last].
HWY_INLINE V NumberOf(const AttentionPlan& plan, const float* numbers, const Pieces& pieces, V u) {
  const F f;
  V number = hn::Set(f, numbers[pieces.first]);
  for (std::int64_t s = pieces.first; s < pieces.last; ++s) {
    const auto beyond = hn::Ge(u, hn::Set(f, plan.knots[static_cast<std::size_t>(s)]));
    number = hn::IfThenElse(beyond, hn::Set(f, numbers[s + 1]), number);
  }
  return number;
}

HWY_NOINLINE void AddPiecewise(const AttentionPlan& plan, const Tile& tile, float* scores) {
  const F f;
  const auto n_segment = static_cast<std::int64_t>(plan.knots.size()) + 1;
  const float* slope = plan.slope.data() + tile.h * n_segment;
  const float* intercept = plan.intercept.data() + tile.h * n_segment;
  for (std::int64_t r = tile.rows.begin; r < tile.rows.end; ++r) {
    const Pieces pieces = PiecesOf(plan, tile, r);
    float* x = scores + r * kKeyTile;
    for (int v = 0; v < kRowVectors; ++v) {
      const V bias = hn::MulAdd(NumberOf(plan, slope, pieces, pieces.u[v]), pieces.u[v],
                                NumberOf(plan, intercept, pieces, pieces.u[v]));
      hn::Store(hn::Add(hn::Load(f, x + v * kLanes), bias), f, x + v * kLanes);
    }
  }
}

HWY_NOINLINE void Hide(std::span<const KeyRange> ranges, const Tile& tile, float* scores) {
  const F f;
  const V hidden = hn::Set(f, kHidden);
  // The key's index within the tile, as a float: small integers are exact.
  const auto in_tile = [&](std::int32_t key) {
    return hn::Set(f,
                   static_cast<float>(std::clamp<std::int64_t>(key - tile.key_begin, 0, kKeyTile)));
  };
  for (std::int64_t r = tile.rows.begin; r < tile.rows.end; ++r) {
    const KeyRange& row = ranges[static_cast<std::size_t>(r)];
    const Span vectors = tile.Vectors(r);
    float* x = scores + r * kKeyTile;
    for (int v = vectors.begin; v < vectors.end; ++v) {
      const std::int64_t first = tile.key_begin + v * kLanes;
      if (row.begin <= first && first + kLanes <= row.end) continue;  // all are seen
      const V j = hn::Iota(f, static_cast<float>(v * kLanes));
      const auto in_range = hn::And(hn::Ge(j, in_tile(row.begin)), hn::Lt(j, in_tile(row.end)));
      const auto in_sinks =
          hn::And(hn::Ge(j, in_tile(row.sink_begin)), hn::Lt(j, in_tile(row.sink_end)));
      const V seen =
          hn::IfThenElse(hn::Or(in_range, in_sinks), hn::Load(f, x + v * kLanes), hidden);
      hn::Store(seen, f, x + v * kLanes);
    }
  }
}

// Calls body(first) for the visited vectors [first, first + n) of row r, with n as a template
// argument: body.template operator()<n>(first). Writes zeros into the other vectors of each of
// `rows`.
template <typename Body>
HWY_INLINE void ForVisited(const Tile& tile, std::int64_t r, std::initializer_list<float*> rows,
                           const Body& body) {
  constexpr int kStep = static_cast<int>(kKeyBlock / kLanes);
  static_assert(kRowVectors == 4 * kStep);
  const F f;
  const Span vectors = tile.Vectors(r);
  for (float* row : rows) {
    for (int v = 0; v < vectors.begin; ++v) hn::Store(hn::Zero(f), f, row + v * kLanes);
    for (int v = vectors.end; v < kRowVectors; ++v) hn::Store(hn::Zero(f), f, row + v * kLanes);
  }
  switch ((vectors.end - vectors.begin) / kStep) {
    case 1:
      return body.template operator()<kStep>(vectors.begin);
    case 2:
      return body.template operator()<2 * kStep>(vectors.begin);
    case 3:
      return body.template operator()<3 * kStep>(vectors.begin);
    case 4:
      return body.template operator()<4 * kStep>(vectors.begin);
    default:
      return;
  }
}

// Adds all terms to the scores of a tile, and hides the hidden keys. The caller reads the scores
// with ScoresAt, which adds what is left: biases by distance, and a one-sided key bias from `bias`.
HWY_INLINE void AddTerms(const AttentionPlan& plan, const Tile& tile,
                         std::span<const KeyRange> ranges, double anchor, float* bias,
                         float* scores) {
  if (plan.terms.key_bias) KeyBiasOf(plan, tile, anchor, bias);
  if (plan.terms.key_bias && plan.terms.key_bias->two_sided) {
    AddTwoSided(plan, tile, anchor, bias, scores);
  }
  if (plan.terms.distance_table && !ReaderAddsDistances(plan, tile)) {
    AddDistances(plan, tile, scores);
  }
  if (plan.terms.piecewise) AddPiecewise(plan, tile, scores);
  if (tile.rows.masked) Hide(ranges, tile, scores);
}

// Whether the reader of the scores adds the key bias that AddTerms has computed.
HWY_INLINE bool ReaderAddsKeyBias(const AttentionPlan& plan) {
  return plan.terms.key_bias && !plan.terms.key_bias->two_sided;
}

// One vector of a row's scores after AddTerms. `distances` is the result of DistancesOf if
// ReaderAddsDistances, else null; `bias` is that of AddTerms if ReaderAddsKeyBias, else null.
HWY_INLINE V ScoresAt(const float* row, const float* distances, const float* bias,
                      std::int64_t at) {
  const F f;
  V x = hn::Load(f, row + at);
  if (distances != nullptr) x = hn::Add(x, hn::LoadU(f, distances + at));
  return bias == nullptr ? x : hn::Add(x, hn::Load(f, bias + at));
}

// z for a row of a tile: 0, or the factor of kept probabilities.
HWY_NOINLINE void DropoutRow(const AttentionPlan& plan, const Tile& tile, std::int64_t r,
                             float* z) {
  const Dropout& dropout = *plan.terms.dropout;
  const auto factor = static_cast<float>(DropoutFactor(dropout));
  const std::uint32_t threshold = DropoutThreshold(dropout);
  const auto i = static_cast<std::uint32_t>(tile.query_begin + r);
  const auto head = static_cast<std::uint32_t>(tile.b * plan.n_head + tile.h);
  const std::int64_t first_block = (plan.terms.visibility.k_offset + tile.key_begin) / kDropoutKeys;
  for (std::int64_t block = 0; block < kKeyTile / kDropoutKeys; ++block) {
    const std::array<std::uint32_t, 4> words = Philox4x32(
        {static_cast<std::uint32_t>(first_block + block), i, head, dropout.offset},
        {static_cast<std::uint32_t>(dropout.seed), static_cast<std::uint32_t>(dropout.seed >> 32)});
    for (std::size_t word = 0; word < 4; ++word) {
      z[block * kDropoutKeys + static_cast<std::int64_t>(2 * word)] =
          (words[word] & 0xffffU) >= threshold ? factor : 0.0F;
      z[block * kDropoutKeys + static_cast<std::int64_t>(2 * word) + 1] =
          (words[word] >> 16) >= threshold ? factor : 0.0F;
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace longrun
HWY_AFTER_NAMESPACE();

#endif  // the include guard, which each target passes once
