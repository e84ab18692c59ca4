// The metrics that a table can show of a result row, and the scale on which each metric is averaged
// over the seeds of a cell.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "client/tables/row_body.h"
#include "client/tables/sweep_results.h"

namespace longrun::client {

// The blocks of the scored text and each one's part in a mean over it. A block with mean m_b over
// n_b tokens has the part n_b (m_b - mean) / mean n, so the sum of all parts is 0.
struct BlockParts {
  // Identifies the text, if readings of several texts are compared: blocks of two texts have
  // nothing to do with each other, wherever they begin.
  std::string text = {};
  std::vector<std::int64_t> begin = {};  // the block's first token in the split
  std::vector<double> parts = {};        // on the scale of averaging; empty: the row has no blocks
  // Degrees of freedom of an error that is computed from the blocks: the number of blocks less one,
  // or fewer if some blocks have many more tokens than others.
  double df = 0.0;
};
// The standard error of a mean from the parts of q blocks, taken as independent:
// sqrt(sum part^2 / (q (q - 1))). At least two blocks.
double BlocksError(const std::vector<double>& parts);

// The number of clusters in a comparison of two readings: the smaller of their numbers.
std::optional<std::int64_t> FewerClusters(const std::optional<std::int64_t>& a,
                                          const std::optional<std::int64_t>& b);

// One row's number on the scale of averaging, with its standard error on that scale.
struct Reading {
  double x = 0.0;
  std::optional<double> se = {};
  double df = std::numeric_limits<double>::infinity();  // degrees of freedom of `se`
  BlockParts blocks = {};
  TextClusters clusters = TextClusters::kUnknown;
  std::optional<std::int64_t> n_clusters = {};
  std::optional<double> n_answers = {};  // of a share with Wilson's interval
  std::string scores = {};               // 1 or 0 for each of these answers; "": not known
  bool is_difference = false;  // of two readings (RelativeTo): `se` is from `blocks`, if it has any
};

struct ResultMetric {
  enum class Better { kLower, kHigher, kNeither };

  std::string name;    // "perplexity"
  std::string source;  // the `metric` of its rows: "nll"
  Better better = Better::kNeither;
  bool is_log = false;  // x is ln(value): the mean is geometric, the error relative
  // Reads a row's body; returns nullopt if the body lacks what the metric needs. A null reader
  // stands for the body's value and se, unchanged.
  std::optional<Reading> (*reader)(const RowBody& body) = nullptr;

  // For rows that sum negative log-likelihoods: "nll", "pseudo_nll", and "nll_by_position", which
  // has an additional axis (by_position.h).
  bool is_nll() const { return source.ends_with("nll") || is_by_position(); }
  bool is_by_position() const { return name.ends_with("_by_position"); }
  bool is_bytes() const { return name.ends_with("bytes"); }
  bool is_speed() const { return name.ends_with("_per_s"); }
  bool is_share() const;  // of answers, between 0 and 1
  // For likelihoods, rows with a variant are other models. Otherwise they are other measurements,
  // such as the directions of a throughput, and are not compared.
  bool variants_are_models() const { return is_nll(); }
  std::string words() const;  // "bits per byte", "pseudo-perplexity", "tokens/s", "peak memory"

  std::optional<Reading> Read(const RowBody& body) const;
  double Value(double x) const;                  // from the scale of averaging
  double ValueError(double x, double se) const;  // delta method: |dvalue/dx| * se
};

//   perplexity      exp(nll_sum / n)                 averaged as nll
//   nll             nll_sum / n
//   bits_per_token  nll / ln 2
//   bits_per_byte   nll_sum / (ln 2 * bytes)         if bytes are known
//
// If rows have buckets, also the first three by position (nll_by_position, ...). Rows of pseudo_nll
// have the same four metrics: pseudo_perplexity, pseudo_nll, pseudo_bits_per_token and
// pseudo_bits_per_byte. Each other metric of the rows follows by its own name, those per second
// first. `sources`: the metrics of the rows.
std::vector<ResultMetric> MetricsOf(const std::set<std::string>& sources);
// The metrics of all rows, including those in buckets.
std::set<std::string> SourcesOf(const std::vector<SweepResults>& results);
// The text that a run's row scores: the dataset's digest and the split.
std::string TextOf(const ResultRun& run, const ResultRow& row);
// The metrics of one row.
void AddSources(const std::string& metric, const std::optional<std::string>& protocol,
                std::set<std::string>& sources);
// "also measured: peak_bytes, tokens_per_s; --metric shows them": the metrics that a table of
// perplexities (else of pseudo-perplexities) leaves out; "" if there are none.
std::string OtherMetricsNote(const std::vector<SweepResults>& results);

// The status of a number that is finite on the scale of averaging but not as a value: exp(nll)
// beyond the largest double. The nll itself is exact.
inline constexpr const char* kOverflow = "overflow";
// The statuses of a number that cannot be compared: the one to compare it with is missing, or is 0,
// by which it cannot be divided.
inline constexpr const char* kNoReference = "no_reference";
inline constexpr const char* kZeroReference = "zero_reference";

// A reading relative to another one of the same run. On a log scale, it is the difference, which is
// the logarithm of the ratio; else it is the ratio. If both have the same blocks, the error is that
// of the blocks' differences. Otherwise the error is computed as if the two were independent, which
// is an upper bound if both score the same text. Returns nullopt if the reference of a ratio is 0.
std::optional<Reading> RelativeTo(const ResultMetric& metric, const Reading& reading,
                                  const Reading& reference);

}  // namespace longrun::client
