// How much each token of a text looks at each other one, averaged, and what is kept of it in a file.
//
//   A[i][j] = mean over texts, layers and heads of p[i][j]     values: probabilities
//           = mean over texts, layers and heads of s[i][j]     values: logits
//
// i query, j key, both from 0; s and p as in model/net/attention.h: p[i][.] = softmax of s[i][.] over
// the keys that query i sees. A bias that is the same for all keys of a query cancels in p, so s is
// only defined up to a number for each row; here it is the one of the formulas' relative form:
// -slope (i - j), b_i - b_j. Where j is not visible to i, A is 0 (probabilities) or NaN (logits); where
// only some of the layers see it (windows by layer), a logit is the mean over those.
//
//   entropy[i]      = -sum over j of A[i][j] ln A[i][j]         of the averaged row (nats)
//   head_entropy[i] = mean over texts, layers and heads of -sum over j of p[i][j] ln p[i][j]
//
// The first is at least the second (entropy is concave); both are at most ln of the keys in sight.
// Torch-free: an evaluation makes maps, the client draws them.
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
  std::vector<std::int64_t> layers = {}, heads = {};  // that were averaged, ascending
  // Query i sees key j where j <= i if causal, and i - j < window if window > 0: in one layer at least.
  bool is_causal = true;
  std::int64_t window = 0;
  // A cell of `values` stands for block x block pairs, the mean or the largest of those that are
  // visible; at the right and lower edge for fewer.
  std::int64_t block = 1;
  Pool pooled_by = Pool::kMean;
  std::vector<float> values = {};                  // (S, S), S = Side(): row by row, a row a query
  std::vector<double> entropy = {};                // (T); empty of logits
  std::vector<double> head_entropy = {};           // (T)
  std::map<std::string, std::string> labels = {};  // whose it is: "method", "document", ...

  std::int64_t Side() const { return (n_tokens + block - 1) / block; }
  // Of a cell: how many of its pairs are visible.
  std::int64_t VisiblePairs(std::int64_t row, std::int64_t column) const;
};

std::string_view ValuesName(AttentionMap::Values values);  // "probabilities", "logits"
std::string_view PoolName(AttentionMap::Pool pool);        // "mean", "max"

// With at most side_max cells a side: the smallest whole block that does it. The mean is weighted by
// visible pairs, so pooling twice is pooling once. A map that is small enough stays as it is, and one
// that was pooled before is pooled further in its own way. side_max 0: any size.
AttentionMap PoolMap(AttentionMap map, std::int64_t side_max, AttentionMap::Pool pool);

// A safetensors file: `attention` (S, S) F32, `entropy` (T) F64 (not of logits), `head_entropy` (T) F64;
// metadata: format, values, tokens, texts, layers, heads, causal, window, block, pool, and the labels
// under their names.
std::string AttentionMapBytes(const AttentionMap& map);
// kNotFound, or kDataLoss naming the file: not safetensors, not such a map, or its parts disagree.
Result<AttentionMap> ReadAttentionMap(const std::string& path);

}  // namespace longrun
