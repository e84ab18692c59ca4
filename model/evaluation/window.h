// From a plan of windows to a score: sums in double, standard error over documents or windows
// (evaluation.md section 0).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"
#include "model/language_model.h"

namespace longrun {

// Sums of one cluster (a document, or a window where documents are not known).
struct ClusterSum {
  std::int64_t id = 0;
  std::int64_t n = 0;
  double nll_sum = 0.0;
  std::int64_t bytes = 0;  // of text scored
};

struct Score {
  std::int64_t n = 0;
  double nll_sum = 0.0;
  std::int64_t bytes = 0;
  std::vector<ClusterSum> clusters;
  std::int64_t n_non_finite = 0;

  double MeanNll() const { return nll_sum / static_cast<double>(n); }
};

// Standard error of the mean NLL by the ratio estimator over clusters; nothing for one cluster.
//   se = sqrt(m / (m - 1) * sum (S_i - r n_i)^2) / sum n_i,  r = sum S / sum n
std::optional<double> StandardError(std::span<const ClusterSum> clusters);

struct ScoreRequest {
  std::span<const std::int32_t> tokens;
  std::span<const Window> windows;
  // Cluster of a scored token: the document when document_starts is given, else the window.
  std::span<const std::int64_t> document_starts;
  std::span<const std::int32_t> token_bytes;  // empty: bytes are not counted
  std::int64_t windows_per_call = 1;
};

// Runs the plan; `progress(done, of)` is called between calls and may stop it by returning false
// (kCancelled).
Result<Score> ScoreWindows(LanguageModel& model, const ScoreRequest& request,
                           const std::function<bool(std::int64_t, std::int64_t)>& progress = {});

}  // namespace longrun
