// How an extension places the keys of each query: a plan for one stretch of a text, expressed by
// the kernels' regions (kernels/attention_terms.h) and, for GALI, by what the kernels do not have.
// Torch-free.
//
// Legend: Q queries of the stretch, K keys that are held.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace longrun {

// The keys that each query of a text sees: the last `window` ones, its own included, and the text's
// first n_sink. window 0: all.
struct KeysSeen {
  std::int64_t window = 0, n_sink = 0;
};

// The keys of a text that a cache still holds: its tokens [0, n_front) and those from
// n_front + n_forgotten on. A key's place is its index among them.
struct HeldKeys {
  std::int64_t n_front = 0, n_forgotten = 0;

  std::int64_t KeyAt(std::int64_t place) const {
    return place < n_front ? place : place + n_forgotten;
  }
  // The place of a key; for a forgotten one, that of the first key after it.
  std::int64_t PlaceOf(std::int64_t key) const {
    return key < n_front ? key : std::max(n_front, key - n_forgotten);
  }
  bool operator==(const HeldKeys&) const = default;
};

// The queries are the tokens [q_begin, q_begin + n_query) of a text. The keys are those of its
// tokens [0, n_key) that are held, where n_key = q_begin + n_query; the queries' own are among
// them. n_to_come more tokens belong to the same piece (Extension::piece) and follow in later
// calls.
struct Stretch {
  std::int64_t q_begin = 0, n_query = 0, n_to_come = 0;
  HeldKeys held = {};

  std::int64_t n_key() const { return q_begin + n_query; }
  std::int64_t n_held() const { return held.PlaceOf(n_key()); }
  std::int64_t q_place() const { return held.PlaceOf(q_begin); }  // of the first query's own key
  std::int64_t n_text() const { return n_key() + n_to_come; }
  bool operator==(const Stretch&) const = default;
  // f(p) of each query's position p.
  template <typename Function>
  std::vector<std::int32_t> Queries(const Function& f) const {
    return Each(q_begin, n_query, f);
  }
  // f(j) of each key that is held.
  template <typename Function>
  std::vector<std::int32_t> Keys(const Function& f) const {
    return Each(0, n_held(), [&](std::int64_t place) { return f(held.KeyAt(place)); });
  }
  // The place of key f(p) for each query, limited to [0, n_held()]: the first key of a region,
  // which may be empty.
  template <typename Function>
  std::vector<std::int32_t> Begins(const Function& f) const {
    return Queries(
        [&](std::int64_t p) { return held.PlaceOf(std::clamp<std::int64_t>(f(p), 0, n_key())); });
  }

 private:
  template <typename Function>
  static std::vector<std::int32_t> Each(std::int64_t begin, std::int64_t n, const Function& f) {
    std::vector<std::int32_t> numbers;
    numbers.reserve(static_cast<std::size_t>(n));
    for (std::int64_t at = begin; at < begin + n; ++at) {
      numbers.push_back(static_cast<std::int32_t>(f(at)));
    }
    return numbers;
  }
};

// A blend of two key sets whose weight depends on the query, too, so that no blended key exists:
//
//   score[i][j] = (1 - r) <q_i, k_j of the region's key_set> + r <q_i, k_j of other_set>
//   r           = fraction of bf16(query[i] - key[j]),  0 <= r < 1
//
// All numbers are representable in bf16. bf16() rounds to nearest, ties to even.
struct PairBlend {
  std::size_t other_set = 0;
  std::vector<float> query = {};  // (Q)
  std::vector<float> key = {};    // (K)
};

// Like Region: contains a query's keys from the place key_begin on, except those of earlier
// regions. Row r of the rotation's table has the angles of position r / Reading::steps.
struct ReadingRegion {
  std::vector<std::int32_t> key_begin = {};  // (Q); empty in the last region
  std::vector<std::int32_t> query_row = {};  // (Q)
  std::size_t key_set = 0;                   // in Reading::key_sets
  // Only if it is the only region, without a window and with key sets that are not blended.
  std::optional<PairBlend> pair_blend = {};
};

// The keys in the form that a region uses: rotated to the positions of these rows.
struct KeySet {
  std::vector<std::int32_t> row = {};  // (K)
  // (K), like BlendedKeys; empty: not blended.
  std::vector<std::int32_t> blended_row = {};
  std::vector<double> blended_weight = {};
};

// Random numbers that are added to scaled scores wherever the weight r of a blend is not 0
// (score_noise.h draws them). i and j count tokens of the text:
//
//   gaussian  score[i][j] += e std (i - j) / n_text           e: standard normal
//   uniform   score[i][j] += u std (i - j) / n_text max[i]    u: uniform in (0, 1)
//
// max[i] is the largest score of query i, before noise, among the keys that it sees.
struct ReadingNoise {
  enum class Kind { kGaussian, kUniform };
  Kind kind = Kind::kGaussian;
  double std = 0.0;
  std::uint64_t seed = 0;
  std::int64_t n_text = 0;
};

// A plan for a stretch. Query p sees key j <= p if p - j < window, or j < n_sink; window 0: all.
// Both numbers are the same in all plans of a text, so that a cache may forget the keys that lie
// between the sinks and the window. Without a window, it holds all keys.
struct Reading {
  std::vector<ReadingRegion> regions = {};  // from the nearest keys to the oldest; at least one
  // Every stretch of a text has the same number of key sets. In each set, a key has the same row in
  // all stretches, unless Extension::keys_kept says otherwise.
  std::vector<KeySet> key_sets = {};
  std::int64_t steps = 1;
  std::int64_t window = 0, n_sink = 0;
  std::vector<double> query_factor = {};  // (Q): multiplies each query; empty: 1
  // Only with one region and without a window.
  std::optional<ReadingNoise> noise = {};

  // Whether the kernels' regions can express it. They have one weight for each key, and no noise:
  // with these, attention forms the scores of a few queries at a time by LibTorch's operators.
  bool IsForKernels() const {
    return !noise && std::ranges::none_of(regions, [](const ReadingRegion& region) {
      return region.pair_blend.has_value();
    });
  }
};

}  // namespace longrun
