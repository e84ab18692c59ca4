// How an extension places the keys of each query: a plan for one stretch of a text, expressed by
// the kernels' regions (kernels/attention_terms.h). Torch-free.
//
// Legend: Q queries of the stretch, K keys.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace longrun {

// The queries are the tokens [q_begin, q_begin + n_query) of a text. The keys are its tokens
// [0, n_key), where n_key = q_begin + n_query. n_to_come more tokens belong to the same piece
// (Extension::piece) and follow in later calls.
struct Stretch {
  std::int64_t q_begin = 0, n_query = 0, n_to_come = 0;

  std::int64_t n_key() const { return q_begin + n_query; }
  std::int64_t n_text() const { return n_key() + n_to_come; }
  bool operator==(const Stretch&) const = default;
  // f(p) of each query's position p.
  template <typename Function>
  std::vector<std::int32_t> Queries(const Function& f) const {
    return Each(q_begin, n_query, f);
  }
  // f(j) of each key.
  template <typename Function>
  std::vector<std::int32_t> Keys(const Function& f) const {
    return Each(0, n_key(), f);
  }
  // f(p) of each query, limited to [0, n_key()]: the first key of a region, which may be empty.
  template <typename Function>
  std::vector<std::int32_t> Begins(const Function& f) const {
    return Queries([&](std::int64_t p) { return std::clamp<std::int64_t>(f(p), 0, n_key()); });
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

// Like Region: contains a query's keys from key_begin on, except those of earlier regions. Row r of
// the rotation's table has the angles of position r / Reading::steps.
struct ReadingRegion {
  std::vector<std::int32_t> key_begin = {};  // (Q); empty in the last region
  std::vector<std::int32_t> query_row = {};  // (Q)
  std::size_t key_set = 0;                   // in Reading::key_sets
};

// The keys in the form that a region uses: rotated to the positions of these rows.
struct KeySet {
  std::vector<std::int32_t> row = {};  // (K)
  // (K), like BlendedKeys; empty: not blended.
  std::vector<std::int32_t> blended_row = {};
  std::vector<double> blended_weight = {};
};

// A plan for a stretch. Query p sees key j <= p if p - j < window, or j < n_sink; window 0: all.
struct Reading {
  std::vector<ReadingRegion> regions = {};  // from the nearest keys to the oldest; at least one
  // Every stretch of a text has the same number of key sets. In each set, a key has the same row in
  // all stretches, unless Extension::keys_kept says otherwise.
  std::vector<KeySet> key_sets = {};
  std::int64_t steps = 1;
  std::int64_t window = 0, n_sink = 0;
  std::vector<double> query_factor = {};  // (Q): multiplies each query; empty: 1
};

}  // namespace longrun
