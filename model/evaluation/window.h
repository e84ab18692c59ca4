// From a plan of windows to a score: sums in double, standard error over documents or windows.
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

// Sums of one cluster: a document, a window, a bucket of context lengths.
struct ClusterSum {
  std::int64_t id = 0;     // index of the document in its split, of the window, or of the bucket
  std::int64_t n = 0;      // tokens scored
  double nll_sum = 0.0;    // nats
  std::int64_t bytes = 0;  // of text scored
};

// n, bytes and the clusters' n count every scored token; the sums leave out those whose NLL is not
// finite, so a score with n_non_finite > 0 is no number to report.
struct Score {
  std::int64_t n = 0;
  double nll_sum = 0.0;
  std::int64_t bytes = 0;
  std::int64_t n_non_finite = 0;
  std::int64_t n_windows_cached = 0;  // not asked of the model
  std::vector<ClusterSum> windows;    // in the plan's order
  std::vector<ClusterSum> documents;  // those with a scored token; empty when they are not known
  std::vector<ClusterSum> buckets;    // one for each pair of neighbours in bucket_edges

  double MeanNll() const { return nll_sum / static_cast<double>(n); }
};

// Standard error of the mean NLL by the ratio estimator over m clusters; nothing for one cluster.
//   se = sqrt(m / (m - 1) * sum (S_i - r n_i)^2) / sum n_i,  r = sum S / sum n
std::optional<double> StandardError(std::span<const ClusterSum> clusters);

// NLLs of windows that were a call of the model by themselves: the same window, given by itself
// again, is the same call, so what is kept here is to the bit what the model would say. Of one
// model and one text. Holds 2^26 NLLs (256 MiB) and then takes no more.
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
  // Where each document starts, and n_tokens as the last entry; empty: documents are not known.
  std::span<const std::int64_t> document_starts{};
  std::span<const std::int32_t> token_bytes{};  // per id; empty: bytes are not counted
  std::int64_t windows_per_call = 1;            // given to the model at once
  // A target with c tokens of context, its BOS counted, belongs to the bucket i with
  // edges[i] <= c < edges[i + 1]; empty: none are told apart. Every target must fall into one.
  std::span<const std::int64_t> bucket_edges{};
  // A window that feeds fewer tokens is not cut by the context length, so it may come again at a
  // longer one: it is given to the model by itself, whether there is a cache or not.
  std::int64_t full_length = 0;
  WindowCache* cache = nullptr;  // of such windows
};

// Runs the plan; `progress(windows done, of)` is called after each call of the model and may stop
// it by returning false (kCancelled). The model's own errors pass through; a window that does not
// lie inside the tokens, or gives its first target no context, is a bug.
Result<Score> ScoreWindows(LanguageModel& model, const ScoreRequest& request,
                           const std::function<bool(std::int64_t, std::int64_t)>& progress = {});

}  // namespace longrun
