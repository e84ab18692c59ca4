#include "model/evaluation/text_error.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/check.h"

namespace longrun {
namespace {

constexpr std::int64_t kBlockTokensMin = 16;
constexpr std::int64_t kScoredBlocksMin = 64;
constexpr int kHurstSteps = 19;  // 0.5, 0.525, ..., 0.95
constexpr double kHurstStep = 0.025;
constexpr double kHurstDecay = 6.0;

// (sum n)^2 / sum n^2
double EffectiveNumber(std::span<const ClusterSum> clusters) {
  double sum = 0.0, squares = 0.0;
  for (const ClusterSum& cluster : clusters) {
    const auto n = static_cast<double>(cluster.n);
    sum += n;
    squares += n * n;
  }
  return squares > 0.0 ? sum * sum / squares : 0.0;
}

double Correlation(double hurst, std::size_t lag) {
  const auto k = static_cast<double>(lag);
  return 0.5 * (std::pow(k + 1.0, 2.0 * hurst) - 2.0 * std::pow(k, 2.0 * hurst) +
                std::pow(std::abs(k - 1.0), 2.0 * hurst));
}

// What the likelihood of y needs at one H.
struct AtHurst {
  double log_likelihood = 0.0;
  double log_se = 0.0;
};

// By the Cholesky factor of R: with L u = y and L v = 1, the sums of the header are v'v, u'v, u'u.
AtHurst Evaluate(std::span<const double> y, double hurst) {
  const std::size_t q = y.size();
  std::vector<double> factor(q * q), u(q), v(q);
  double log_determinant = 0.0, vv = 0.0, uv = 0.0;
  for (std::size_t i = 0; i < q; ++i) {
    u[i] = y[i];
    v[i] = 1.0;
    for (std::size_t j = 0; j <= i; ++j) {
      double sum = Correlation(hurst, i - j);
      for (std::size_t k = 0; k < j; ++k) sum -= factor[i * q + k] * factor[j * q + k];
      factor[i * q + j] = j < i ? sum / factor[j * q + j] : std::sqrt(sum);
    }
    for (std::size_t j = 0; j < i; ++j) {
      u[i] -= factor[i * q + j] * u[j];
      v[i] -= factor[i * q + j] * v[j];
    }
    u[i] /= factor[i * q + i];
    v[i] /= factor[i * q + i];
    log_determinant += 2.0 * std::log(factor[i * q + i]);
    vv += v[i] * v[i];
    uv += u[i] * v[i];
  }
  double squares = 0.0;
  for (std::size_t i = 0; i < q; ++i) {
    const double residual = u[i] - uv / vv * v[i];
    squares += residual * residual;
  }
  const auto df = static_cast<double>(q - 1);
  const double log_variance = std::log(squares / df);
  return {.log_likelihood = -0.5 * (log_determinant + std::log(vv) + df * log_variance),
          .log_se = 0.5 * log_variance + (hurst - 1.0) * std::log(static_cast<double>(q))};
}

}  // namespace

std::int64_t TextBlockTokens(std::int64_t n_tokens, std::int64_t score_end) {
  LR_CHECK(score_end > 0 && score_end <= n_tokens);
  std::int64_t block = kBlockTokensMin;
  while (n_tokens > block * kStoredBlocksMax) block *= 2;
  while (block > kBlockTokensMin && score_end < block * kScoredBlocksMin) block /= 2;
  return block;
}

std::vector<ClusterSum> TextBlocks(const Score& score) {
  std::int64_t n = 0, n_before = 0;
  for (const ClusterSum& block : score.blocks) n += block.n;
  std::vector<ClusterSum> groups;
  std::int64_t last_group = -1;
  for (const ClusterSum& block : score.blocks) {
    const double middle = static_cast<double>(n_before) + 0.5 * static_cast<double>(block.n);
    const auto group = static_cast<std::int64_t>(static_cast<double>(kTextBlocks) * middle /
                                                 static_cast<double>(n));
    if (group != last_group) groups.push_back({.id = block.id * score.block_tokens});
    last_group = group;
    groups.back().n += block.n;
    groups.back().nll_sum += block.nll_sum;
    groups.back().bytes += block.bytes;
    n_before += block.n;
  }
  return groups;
}

std::vector<std::vector<ClusterSum>> TextBlocksOfBuckets(const Score& score) {
  const std::vector<ClusterSum> groups = TextBlocks(score);
  std::vector<std::vector<ClusterSum>> buckets;
  buckets.reserve(score.bucket_blocks.size());
  for (const std::vector<ClusterSum>& blocks : score.bucket_blocks) {
    std::vector<ClusterSum>& sums = buckets.emplace_back();
    std::size_t group = 0;
    for (const ClusterSum& block : blocks) {
      const std::int64_t begin = block.id * score.block_tokens;
      while (group + 1 < groups.size() && groups[group + 1].id <= begin) ++group;
      if (sums.empty() || sums.back().id != groups[group].id) {
        sums.push_back({.id = groups[group].id});
      }
      sums.back().n += block.n;
      sums.back().nll_sum += block.nll_sum;
      sums.back().bytes += block.bytes;
    }
  }
  return buckets;
}

TextError BucketError(std::span<const ClusterSum> blocks) {
  constexpr double kEffectiveBlocksMin = 2.0;
  TextError error = {
      .se = {}, .clusters = "block", .n_clusters = static_cast<std::int64_t>(blocks.size())};
  const double n_effective = EffectiveNumber(blocks);
  if (n_effective < kEffectiveBlocksMin) return error;
  error.se = BlockStandardError(blocks);
  error.df = n_effective - 1.0;
  return error;
}

std::optional<double> BlockStandardError(std::span<const ClusterSum> blocks) {
  if (blocks.size() < 2) return std::nullopt;
  double n = 0.0, nll_sum = 0.0;
  for (const ClusterSum& block : blocks) {
    n += static_cast<double>(block.n);
    nll_sum += block.nll_sum;
  }
  // The block's part in the ratio estimator, as a difference from the mean.
  std::vector<double> y;
  y.reserve(blocks.size());
  const double mean = nll_sum / n, mean_n = n / static_cast<double>(blocks.size());
  for (const ClusterSum& block : blocks) {
    y.push_back((block.nll_sum - mean * static_cast<double>(block.n)) / mean_n);
  }
  // Equal means up to rounding have no error, and their likelihood has no maximum.
  const auto rounds = [mean](double x) { return std::abs(x) <= 1e-14 * std::abs(mean); };
  if (std::ranges::all_of(y, rounds)) return 0.0;

  std::vector<AtHurst> at;
  at.reserve(kHurstSteps);
  for (int i = 0; i < kHurstSteps; ++i) {
    at.push_back(Evaluate(y, 0.5 + kHurstStep * i));
    at.back().log_likelihood -= kHurstDecay * kHurstStep * i;
  }
  const double best = std::ranges::max(at, {}, &AtHurst::log_likelihood).log_likelihood;
  double weights = 0.0, log_se = 0.0;
  for (const AtHurst& one : at) {
    const double weight = std::exp(one.log_likelihood - best);
    weights += weight;
    log_se += weight * one.log_se;
  }
  return std::exp(log_se / weights);
}

TextError TextErrorOf(const Score& score) {
  const double n_effective = EffectiveNumber(score.documents);
  if (score.documents.size() >= kDocumentsMin && n_effective >= kEffectiveDocumentsMin) {
    return {.se = StandardError(score.documents),
            .clusters = "document",
            .n_clusters = static_cast<std::int64_t>(score.documents.size()),
            .df = n_effective - 1.0};
  }
  const std::vector<ClusterSum> groups = TextBlocks(score);
  return {.se = BlockStandardError(groups),
          .clusters = "block",
          .n_clusters = static_cast<std::int64_t>(groups.size()),
          .df = static_cast<double>(groups.size()) - 1.0};
}

}  // namespace longrun
