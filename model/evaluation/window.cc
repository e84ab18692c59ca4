#include "model/evaluation/window.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "base/check.h"
#include "base/str.h"

namespace longrun {
namespace {

void CheckWindow(const Window& window, std::size_t n_tokens) {
  LR_CHECK(window.context_begin >= 0 && window.score_begin < window.score_end);
  LR_CHECK(window.score_end <= static_cast<std::int64_t>(n_tokens));
  // The first target must have context: at least one token, or the BOS.
  LR_CHECK(window.score_begin - window.context_begin + (window.bos ? 1 : 0) >= 1);
}

bool IsShort(const ScoreRequest& request, const Window& window) {
  const std::int64_t n_fed = window.score_end - 1 - window.context_begin + (window.bos ? 1 : 0);
  return n_fed < request.full_length;
}

// How many windows from `begin` on go into one call of the model.
std::size_t CallSize(const ScoreRequest& request, std::size_t begin) {
  if (IsShort(request, request.windows[begin])) return 1;
  const std::size_t end =
      std::min(request.windows.size(), begin + static_cast<std::size_t>(request.windows_per_call));
  std::size_t next = begin + 1;
  while (next < end && !IsShort(request, request.windows[next])) ++next;
  return next - begin;
}

// The document of token t: the last that starts at or before it.
std::int64_t DocumentOf(std::span<const std::int64_t> starts, std::int64_t t) {
  return std::upper_bound(starts.begin(), starts.end(), t) - starts.begin() - 1;
}

// Plans move through a text from front to back, so the cluster is nearly always the last one.
ClusterSum& FindOrAdd(std::vector<ClusterSum>& sums, std::int64_t id) {
  if (!sums.empty() && sums.back().id == id) return sums.back();
  auto at = std::ranges::lower_bound(sums, id, {}, &ClusterSum::id);
  if (at == sums.end() || at->id != id) at = sums.insert(at, ClusterSum{.id = id});
  return *at;
}

void AddTo(ClusterSum& sum, const ClusterSum& token) {
  sum.n += token.n;
  sum.nll_sum += token.nll_sum;
  sum.bytes += token.bytes;
}

class Scorer {
 public:
  explicit Scorer(const ScoreRequest& request)
      : request_(request), places_(request.document_starts, request.block_tokens) {
    score_.block_tokens = request.block_tokens;
    score_.buckets.reserve(request.bucket_edges.size());
    for (std::size_t i = 0; i + 1 < request.bucket_edges.size(); ++i) {
      score_.buckets.push_back({.id = static_cast<std::int64_t>(i)});
    }
    score_.bucket_blocks.resize(score_.buckets.size());
  }

  // Scores windows [begin, begin + n) by one call of the model, or from the cache.
  Status Score(LanguageModel& model, std::size_t begin, std::size_t n) {
    const std::span<const Window> windows = request_.windows.subspan(begin, n);
    const bool keeps = request_.cache != nullptr && IsShort(request_, windows[0]);
    if (const auto* const kept = keeps ? request_.cache->Find(windows[0]) : nullptr) {
      Add(begin, *kept);
      score_.n_windows_cached += 1;
      return {};
    }
    ASSIGN_OR_RETURN(const std::vector<std::vector<float>> nll,
                     model.Nll(request_.tokens, windows));
    LR_CHECK(nll.size() == n);
    for (std::size_t i = 0; i < n; ++i) Add(begin + i, nll[i]);
    if (keeps) request_.cache->Keep(windows[0], nll[0]);
    return {};
  }

  longrun::Score Take() { return std::move(score_); }

 private:
  void Add(std::size_t index, std::span<const float> nll) {
    const Window& window = request_.windows[index];
    LR_CHECK(static_cast<std::int64_t>(nll.size()) == window.score_end - window.score_begin);
    ClusterSum sum{.id = static_cast<std::int64_t>(index)};
    for (std::size_t i = 0; i < nll.size(); ++i) {
      const std::int64_t t = window.score_begin + static_cast<std::int64_t>(i);
      const ClusterSum token = Token(t, nll[i]);
      AddTo(sum, token);
      places_.Add(t, token, score_);
      if (!score_.buckets.empty()) AddToBucket(window, t, token);
      if (!std::isfinite(nll[i])) score_.n_non_finite += 1;
    }
    score_.n += sum.n;
    score_.nll_sum += sum.nll_sum;
    score_.bytes += sum.bytes;
    score_.windows.push_back(sum);
  }

  ClusterSum Token(std::int64_t t, float nll) const {
    ClusterSum token{.n = 1, .nll_sum = std::isfinite(nll) ? static_cast<double>(nll) : 0.0};
    if (!request_.token_bytes.empty()) {
      const std::int32_t id = request_.tokens[static_cast<std::size_t>(t)];
      token.bytes = request_.token_bytes[static_cast<std::size_t>(id)];
    }
    return token;
  }

  // The context grows by one from token to token, so the bucket is nearly always the last one.
  void AddToBucket(const Window& window, std::int64_t t, const ClusterSum& token) {
    const std::int64_t context = t - window.context_begin + (window.bos ? 1 : 0);
    const auto edges = request_.bucket_edges;
    LR_CHECK(context >= edges.front() && context < edges.back());
    if (context < edges[bucket_]) bucket_ = 0;
    while (context >= edges[bucket_ + 1]) ++bucket_;
    AddTo(score_.buckets[bucket_], token);
    if (request_.block_tokens > 0) {
      AddTo(FindOrAdd(score_.bucket_blocks[bucket_], t / request_.block_tokens), token);
    }
  }

  const ScoreRequest& request_;
  PlaceSums places_;
  std::size_t bucket_ = 0;  // of the token before
  longrun::Score score_;
};

}  // namespace

void PlaceSums::Add(std::int64_t t, const ClusterSum& token, Score& score) const {
  if (!document_starts_.empty()) {
    AddTo(FindOrAdd(score.documents, DocumentOf(document_starts_, t)), token);
  }
  if (block_tokens_ > 0) AddTo(FindOrAdd(score.blocks, t / block_tokens_), token);
}

std::optional<double> StandardError(std::span<const ClusterSum> clusters) {
  if (clusters.size() < 2) return std::nullopt;
  double nll_sum = 0.0, n = 0.0;
  for (const ClusterSum& cluster : clusters) {
    nll_sum += cluster.nll_sum;
    n += static_cast<double>(cluster.n);
  }
  if (n == 0.0) return std::nullopt;
  const double mean = nll_sum / n;
  double squares = 0.0;
  for (const ClusterSum& cluster : clusters) {
    const double residual = cluster.nll_sum - mean * static_cast<double>(cluster.n);
    squares += residual * residual;
  }
  const auto m = static_cast<double>(clusters.size());
  return std::sqrt(m / (m - 1.0) * squares) / n;
}

const std::vector<float>* WindowCache::Find(const Window& window) const {
  const auto found = kept_.find(window);
  return found == kept_.end() ? nullptr : &found->second;
}

void WindowCache::Keep(const Window& window, const std::vector<float>& nll) {
  constexpr std::int64_t kKeptMax = std::int64_t{1} << 26;
  const auto n = static_cast<std::int64_t>(nll.size());
  if (n_kept_ + n > kKeptMax) return;
  if (kept_.emplace(window, nll).second) n_kept_ += n;
}

bool WindowCache::Before::operator()(const Window& a, const Window& b) const {
  return std::tie(a.context_begin, a.score_begin, a.score_end, a.bos) <
         std::tie(b.context_begin, b.score_begin, b.score_end, b.bos);
}

Result<Score> ScoreWindows(LanguageModel& model, const ScoreRequest& request,
                           const std::function<bool(std::int64_t, std::int64_t)>& progress) {
  LR_CHECK(request.windows_per_call > 0);
  for (const Window& window : request.windows) CheckWindow(window, request.tokens.size());

  Scorer scorer(request);
  const std::size_t n_windows = request.windows.size();
  for (std::size_t begin = 0; begin < n_windows;) {
    const std::size_t n = CallSize(request, begin);
    RETURN_IF_ERROR(scorer.Score(model, begin, n));
    begin += n;
    if (progress &&
        !progress(static_cast<std::int64_t>(begin), static_cast<std::int64_t>(n_windows))) {
      return Status(Code::kCancelled, Str("stopped after ", begin, " of ", n_windows, " windows"));
    }
  }
  return scorer.Take();
}

}  // namespace longrun
