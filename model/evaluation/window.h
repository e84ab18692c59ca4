// Turns a plan of windows into a score: sums in double, of the whole and of its parts.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"
#include "model/language_model.h"

namespace longrun {

// The sums of one cluster: a document, a block of the text, a window, or a bucket of context
// lengths.
struct ClusterSum {
  std::int64_t id = 0;     // index of the document or block in its split, of the window or bucket
  std::int64_t n = 0;      // tokens scored
  double nll_sum = 0.0;    // nats
  std::int64_t bytes = 0;  // of text scored
};

// n, bytes and the clusters' n count every scored token; the sums leave out tokens whose NLL is not
// finite, so a score with n_non_finite > 0 must not be reported as a number.
struct Score {
  std::int64_t n = 0;
  double nll_sum = 0.0;
  std::int64_t bytes = 0;
  std::int64_t n_non_finite = 0;
  std::int64_t n_windows_cached = 0;  // taken from the cache
  std::vector<ClusterSum> windows;    // in the plan's order
  std::vector<ClusterSum> documents;  // those with a scored token; empty if not known
  std::int64_t block_tokens = 0;      // the length of blocks; 0: there are none
  std::vector<ClusterSum> blocks;     // those with a scored token; block b begins at b block_tokens
  std::vector<ClusterSum> buckets;    // one for each pair of neighbours in bucket_edges
  // For each bucket, its sums by block, like `blocks`; empty vectors without blocks.
  std::vector<std::vector<ClusterSum>> bucket_blocks;

  double MeanNll() const { return nll_sum / static_cast<double>(n); }
};

// Adds tokens to the sums of the documents and blocks in which they lie.
class PlaceSums {
 public:
  // `document_starts` as in ScoreRequest. If it is empty, documents are left out; if block_tokens
  // is 0, blocks are.
  PlaceSums(std::span<const std::int64_t> document_starts, std::int64_t block_tokens)
      : document_starts_(document_starts), block_tokens_(block_tokens) {}
  // Adds `token`, the sums of only token t.
  void Add(std::int64_t t, const ClusterSum& token, Score& score) const;

 private:
  std::span<const std::int64_t> document_starts_;
  std::int64_t block_tokens_;
};

// Standard error of the mean NLL by the ratio estimator over m clusters; nullopt for one cluster.
//   se = sqrt(m / (m - 1) * sum (S_i - r n_i)^2) / sum n_i,  r = sum S / sum n
std::optional<double> StandardError(std::span<const ClusterSum> clusters);

// NLLs of windows that were each the only window of a model call. To give the model such a window
// again would be the same call, so a stored result has exactly the bits that the model would
// return. For one model and one text. Holds 2^26 NLLs (256 MiB) and then accepts no more.
class WindowCache {
 public:
  const std::vector<float>* Find(const Window& window) const;  // null: not kept
  void Keep(const Window& window, const std::vector<float>& nll);

 private:
  struct Before {
    bool operator()(const Window& a, const Window& b) const;
  };
  std::map<Window, std::vector<float>, Before> kept_;
  std::int64_t n_kept_ = 0;
};

struct ScoreRequest {
  std::span<const std::int32_t> tokens{};
  std::span<const Window> windows{};
  // The start of each document, and n_tokens as the last entry; empty: documents are not known.
  std::span<const std::int64_t> document_starts{};
  std::int64_t block_tokens = 0;                // of the score's blocks; 0: none
  std::span<const std::int32_t> token_bytes{};  // per id; empty: bytes are not counted
  std::int64_t windows_per_call = 1;            // given to the model at once
  // A target with c tokens of context, including its BOS, belongs to bucket i with
  // edges[i] <= c < edges[i + 1]. Every target must fall into a bucket; empty:
  // there are no buckets.
  std::span<const std::int64_t> bucket_edges{};
  // A window that feeds fewer tokens than this is not cut by the context length, so it may occur
  // again at a longer one. It is given to the model in a call of its own, with or without a cache.
  std::int64_t full_length = 0;
  WindowCache* cache = nullptr;  // for such windows
};

// Runs the plan. `progress(windows done, of)` is called after each model call and may return false
// to stop it (kCancelled). The model's errors are passed on; a window that is not inside the
// tokens, or whose first target has no context, is a bug.
Result<Score> ScoreWindows(LanguageModel& model, const ScoreRequest& request,
                           const std::function<bool(std::int64_t, std::int64_t)>& progress = {});

}  // namespace longrun
