// What a table can show of a result row, and the scale on which the seeds of a cell are averaged.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "client/tables/sweep_results.h"

namespace longrun::client {

// One row's number on the scale of averaging, with its standard error on that scale.
struct Reading {
  double x = 0.0;
  std::optional<double> se = {};
};

struct ResultMetric {
  enum class Better { kLower, kHigher, kNeither };

  std::string name;    // "perplexity"
  std::string source;  // the `metric` of its rows: "nll"
  Better better = Better::kNeither;
  bool is_log = false;  // x is ln(value): the mean is geometric, the error relative
  // Reads a row's body; nothing if it lacks what the metric needs. Null: the body's value and se,
  // unchanged.
  std::optional<Reading> (*reader)(const Json& body) = nullptr;

  // For rows that sum negative log-likelihoods: "nll", "pseudo_nll", and "nll_by_position", which
  // has an additional axis (by_position.h).
  bool is_nll() const { return source.ends_with("nll") || is_by_position(); }
  bool is_by_position() const { return name.ends_with("_by_position"); }
  bool is_bytes() const { return name.ends_with("bytes"); }
  bool is_share() const { return name == "acc" || name.starts_with("acc_"); }  // between 0 and 1
  // For likelihoods, rows with a variant are other models. Otherwise they are other measurements,
  // such as the directions of a throughput, and are not compared.
  bool variants_are_models() const { return is_nll(); }
  std::string words() const;  // "bits per byte", "pseudo-perplexity", "tokens/s", "peak memory"

  std::optional<Reading> Read(const Json& body) const;
  double Value(double x) const;                  // from the scale of averaging
  double ValueError(double x, double se) const;  // delta method: |dvalue/dx| * se
};

//   perplexity      exp(nll_sum / n)                 folded as nll
//   nll             nll_sum / n
//   bits_per_token  nll / ln 2
//   bits_per_byte   nll_sum / (ln 2 * bytes)         if bytes are known
//
// the first three by position (nll_by_position, ...) if rows have buckets, the same for pseudo_nll,
// as pseudo_perplexity, pseudo_nll, pseudo_bits_per_token, pseudo_bits_per_byte, and each other
// metric of the rows by its own name, those per second first. `sources`: the metrics of the rows.
std::vector<ResultMetric> MetricsOf(const std::set<std::string>& sources);
// The metrics of all rows, including those in buckets.
std::set<std::string> SourcesOf(const std::vector<SweepResults>& results);
// The metrics of one row.
void AddSources(const Json& metric, const Json& protocol, std::set<std::string>& sources);
// "also measured: peak_bytes, tokens_per_s; --metric shows them": the metrics that a table of
// perplexities (else of pseudo-perplexities) leaves out; "" if there are none.
std::string OtherMetricsNote(const std::vector<SweepResults>& results);

// The status of a number that is finite on the scale of averaging but not as a value: exp(nll)
// beyond the largest double. The nll itself is exact.
inline constexpr const char* kOverflow = "overflow";

// The mean of several readings. Its standard error: for two or more readings that of their mean,
// sd / sqrt(k); for one its own. At least one reading.
Reading MeanOf(const std::vector<Reading>& readings);

// A reading relative to another one of the same run. On a log scale the difference, which is the
// logarithm of the ratio; else the ratio. The errors are treated as independent; since both
// readings score the same text they rarely are, and the error is then an upper bound.
std::optional<Reading> RelativeTo(const ResultMetric& metric, const Reading& reading,
                                  const Reading& reference);

}  // namespace longrun::client
