// The error of a mean NLL that comes from having seen this text and not another of its kind. (The
// spread over training seeds is a different error.)
//
// Neighbouring tokens, windows and pages resemble each other, so they do not count as independent.
// The scored text is cut into 16 consecutive blocks of about equal numbers of scored tokens, and
// the error is taken from the blocks' means. The number is fixed, so all scores of the same tokens
// have the same blocks, whatever the model, the context length and the protocol. Sixteen is what
// the literature on dependent series advises. Schmeiser (1982) recommends 10 to 30 batches.
// According to Ibragimov and Mueller (2010), Student's t over 16 groups keeps its level even if the
// groups' variances differ.
//
// Blocks of a text are not independent either. If they were, the variance of a block's mean would
// fall with its length b like 1 / b. It falls like b^(2H - 2), with H near 2/3 for novels instead
// of 1/2. So H is estimated from the blocks, as if their means were fractional Gaussian noise
// (Mandelbrot and Van Ness 1968; Beran 1994, chapter 5):
//
//   R(H)_ij = (|k+1|^2H - 2 |k|^2H + |k-1|^2H) / 2, k = i - j       correlations of q blocks
//   s^2(H) = (y - m)' R^-1 (y - m) / (q - 1), m = 1'R^-1 y / 1'R^-1 1
//   ln L(H) = -(ln |R| + ln 1'R^-1 1 + (q - 1) ln s^2(H)) / 2       restricted likelihood
//   se = exp of the mean of ln (s(H) q^(H - 1)), weighted by L(H) exp(-6 (H - 1/2))
//
// over H = 0.5, 0.525, ..., 0.95. Sixteen blocks say little about H. So se is a mean over H, with a
// weight that prefers independence, and not the value at the likeliest H. With only H = 1/2, se is
// the ratio estimator over the blocks. The exponent 6 is chosen by coverage. If a novel is cut into
// 20 parts, the 95 % interval of a part covers the mean of the rest in 90 % of cases (six novels,
// losses of a model with five letters of context). For independent tokens, intervals cover the
// truth in 99 %. Without the weight these numbers are 93 % and 100 %, and with only H = 1/2 they
// are 69 % and 95 %. For simulated texts whose losses change between two means, or from document to
// document, the coverage is 94 to 99 % (tests/model/evaluation/text_error_test.cc).
//
// If there are ten or more documents, and their effective number (sum n)^2 / sum n^2 (Kish 1965) is
// at least 9, the clusters are the documents, taken as independent. The limit is below ten because
// the first and the last document are often scored only in part.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "model/evaluation/window.h"

namespace longrun {

inline constexpr std::size_t kTextBlocks = 16;
inline constexpr std::size_t kDocumentsMin = 10;
inline constexpr double kEffectiveDocumentsMin = 9.0;
inline constexpr std::int64_t kStoredBlocksMax = 256;

// The length of the stored blocks, which are joined into larger blocks for the error. It is a power
// of two, so that two scores of one split can be compared block by block: the smallest from 16 on
// with which at most kStoredBlocksMax blocks cover the split. If fewer than 64 such blocks cover
// the scored tokens (those before `score_end`), the length is halved until 64 do, or until it is
// 16.
std::int64_t TextBlockTokens(std::int64_t n_tokens, std::int64_t score_end);

// The score's blocks, joined into at most kTextBlocks groups of about equal numbers of scored
// tokens. A block belongs to the group in which the middle of its tokens lies. A group's id is the
// index of its first token in the split.
std::vector<ClusterSum> TextBlocks(const Score& score);

// For each of the score's buckets, its sums in the same groups. Groups in which a bucket has no
// token are left out. So a bucket's groups may differ in n, and a bucket of few windows has few.
std::vector<std::vector<ClusterSum>> TextBlocksOfBuckets(const Score& score);

struct TextError {
  std::optional<double> se;   // of the mean NLL; nullopt for a single cluster
  std::string_view clusters;  // "document" or "block"
  std::int64_t n_clusters = 0;
  // Degrees of freedom of Student's t for intervals: blocks - 1, or effective documents - 1.
  double df = 0.0;
};
// The error of the score's mean NLL, from its documents or blocks.
TextError TextErrorOf(const Score& score);

// The error of a bucket's mean, from its blocks. df is their effective number - 1. If the effective
// number is below 2, there is no se.
TextError BucketError(std::span<const ClusterSum> blocks);

// se as above, of the mean over consecutive blocks of about equal n; nullopt for a single block.
std::optional<double> BlockStandardError(std::span<const ClusterSum> blocks);

}  // namespace longrun
