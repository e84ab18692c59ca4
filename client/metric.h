// What a table can show of a result row, and on which scale the seeds of a cell are folded.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"

namespace longrun {

// One row's number on the scale of the fold, with its standard error on that scale.
struct Reading {
  double x = 0.0;
  std::optional<double> se = {};
};

struct Metric {
  enum class Better { kLower, kHigher, kNeither };

  std::string name;    // "perplexity"
  std::string source;  // the `metric` of the rows it is read from: "nll"
  Better better = Better::kNeither;
  bool is_log = false;  // x is ln(value): the mean is geometric, the error relative
  // Nothing where the row's body lacks what the metric needs. A reader of its own, or (null) the
  // body's value and se as they stand.
  std::optional<Reading> (*reader)(const Json& body) = nullptr;

  // Of rows that sum negative log-likelihoods: "nll", "pseudo_nll", and "nll_by_position", which has an axis
  // more (by_position.h).
  bool is_nll() const { return source.ends_with("nll") || is_by_position(); }
  bool is_by_position() const { return name.ends_with("_by_position"); }
  bool is_bytes() const { return name.ends_with("bytes"); }
  bool is_share() const { return name == "acc" || name.starts_with("acc_"); }  // from 0 to 1
  // Rows with a variant are other models (of likelihoods); else they are other things that were measured, as the
  // directions of a throughput, and are not compared.
  bool variants_are_models() const { return is_nll(); }
  std::string words() const;  // "bits per byte", "pseudo-perplexity", "tokens/s", "peak memory"

  std::optional<Reading> Read(const Json& body) const;
  double Value(double x) const;                  // from the scale of the fold
  double ValueError(double x, double se) const;  // delta method: |dvalue/dx| * se
};

//   perplexity      exp(nll_sum / n)                 folded as nll
//   nll             nll_sum / n
//   bits_per_token  nll / ln 2
//   bits_per_byte   nll_sum / (ln 2 * bytes)         where bytes are known
//
// the first three by position (nll_by_position, ...) where rows hold buckets,
// the same of pseudo_nll, as pseudo_perplexity, pseudo_nll, pseudo_bits_per_token, pseudo_bits_per_byte,
// and each other metric of the rows by its own name, those a second first. `sources`: the metrics that
// the rows have.
std::vector<Metric> MetricsOf(const std::set<std::string>& sources);
// The metrics that the rows of answers of GetResults have or hold.
std::set<std::string> SourcesOf(const std::vector<Json>& results);
// Those of one row.
void AddSources(const Json& metric, const Json& protocol, std::set<std::string>& sources);
// "also measured: peak_bytes, tokens_per_s; --metric shows them", of what a table of perplexities (or
// else of pseudo-perplexities) leaves
// out; "" where that is nothing.
std::string OtherMetricsNote(const std::vector<Json>& results);

// The status of a number that is finite on the scale of the fold and not as a value: exp(nll) beyond
// the largest double. The nll is exact all the same.
inline constexpr const char* kOverflow = "overflow";

// Mean of several readings; standard error: of the mean over readings, sd / sqrt(k), for two or
// more, the reading's own for one. At least one reading.
Reading MeanOf(const std::vector<Reading>& readings);

// A reading relative to another one of the same run. Log scale: the difference, which is the
// logarithm of the ratio; else the ratio. The two errors are taken as independent; since both score
// the same text they rarely are, and the error is then an upper bound.
std::optional<Reading> RelativeTo(const Metric& metric, const Reading& reading,
                                  const Reading& reference);

}  // namespace longrun
