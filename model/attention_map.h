// Averaged attention: how much each token of a text attends to each other token,
// and the file that stores it.
//
//   A[i][j] = mean over texts, layers and heads of p[i][j]     values: probabilities
//           = mean over texts, layers and heads of s[i][j]     values: logits
//
// i query, j key, both from 0; s and p as in model/net/attention.h: p[i][.] = softmax of s[i][.]
// over the keys that query i sees. A bias that is the same for all keys of a query cancels in p, so
// s is defined only up to one number per row. Here biases are in their relative form, which fixes
// that number: -slope (i - j), b_i - b_j. If j is not visible to i, A is 0 (probabilities) or NaN
// (logits). If j is visible in some layers only (others have a window), a logit is the mean over
// the layers in which it is visible.
//
//   entropy[i]      = -sum over j of A[i][j] ln A[i][j]         of the averaged row (nats)
//   head_entropy[i] = mean over texts, layers and heads of -sum over j of p[i][j] ln p[i][j]
//
// entropy is at least head_entropy (entropy is concave); both are at most ln of the number of
// visible keys. Torch-free: an evaluation makes maps, the client draws them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace longrun {

struct AttentionMap {
  enum class Values { kProbabilities, kLogits };
  enum class Pool { kMean, kMax };

  Values values_of = Values::kProbabilities;
  std::int64_t n_tokens = 0;  // T
  std::int64_t n_texts = 1;
  std::vector<std::int64_t> layers = {}, heads = {};  // the averaged ones, ascending
  // Query i sees key j if j <= i (when causal) and i - j < window (when window > 0),
  // in at least one layer.
  bool is_causal = true;
  std::int64_t window = 0;
  // A cell of `values` is the mean or the maximum over the visible pairs of block x block pairs
  // (fewer at the right and lower edge).
  std::int64_t block = 1;
  Pool pooled_by = Pool::kMean;
  std::vector<float> values = {};                  // (S, S), S = Side(): one row per query
  std::vector<double> entropy = {};                // (T); empty for logits
  std::vector<double> head_entropy = {};           // (T)
  std::map<std::string, std::string> labels = {};  // its origin: "method", "document", ...

  std::int64_t Side() const { return (n_tokens + block - 1) / block; }
  // The number of visible pairs in a cell.
  std::int64_t VisiblePairs(std::int64_t row, std::int64_t column) const;
};

std::string_view ValuesName(AttentionMap::Values values);  // "probabilities", "logits"
std::string_view PoolName(AttentionMap::Pool pool);        // "mean", "max"

// Reduces a map to at most side_max cells per side, by the smallest block that achieves this. The
// mean is weighted by visible pairs, so pooling twice equals pooling once. NaN is left out: it is
// the logit of a key that an extension hides although no window does. In a second pooling such keys
// count as visible. A small enough map is returned unchanged, and a map that was pooled before
// keeps its kind of pooling. side_max 0: any size.
AttentionMap PoolMap(AttentionMap map, std::int64_t side_max, AttentionMap::Pool pool);

// a - b, cell by cell, with the labels of `a` and no entropies. If their windows differ, the result
// has the wider one: a pair that one of them hides has probability 0 there. A cell of logits is NaN
// if either of them lacks it, or sees fewer of its pairs. kInvalidArgument if they do not have the
// same kind of values, tokens, number of texts, layers, heads, causality and pooling.
Result<AttentionMap> AttentionDifference(const AttentionMap& a, const AttentionMap& b);

// The bytes of a safetensors file: `attention` (S, S) F32, `entropy` (T) F64 (not for logits),
// `head_entropy` (T) F64; metadata: format, values, tokens, texts, layers, heads, causal, window,
// block, pool, and each label under its name.
std::string AttentionMapBytes(const AttentionMap& map);
// kNotFound, or kDataLoss naming the file: not safetensors, not an attention map,
// or its parts disagree.
Result<AttentionMap> ReadAttentionMap(const std::string& path);

}  // namespace longrun
