#include "client/tables/metric.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string_view>

#include "base/check.h"
#include "base/str.h"
#include "client/tables/by_position.h"
#include "sweeps/evaluated_dataset.h"

namespace longrun::client {
namespace {

BlockParts PartsOf(const BlockMeans& blocks) {
  const std::size_t q = blocks.begin.size();
  if (q < 2) return {};
  double n_sum = 0.0, nll_sum = 0.0;
  for (std::size_t b = 0; b < q; ++b) {
    const auto n = static_cast<double>(blocks.n[b]);
    n_sum += n;
    nll_sum += n * blocks.nll[b];
  }
  if (!(n_sum > 0.0)) return {};
  BlockParts out{.begin = blocks.begin};
  out.parts.reserve(q);
  for (std::size_t b = 0; b < q; ++b) {
    out.parts.push_back(static_cast<double>(blocks.n[b]) * (blocks.nll[b] - nll_sum / n_sum) *
                        static_cast<double>(q) / n_sum);
  }
  return out;
}

std::optional<Reading> ReadNll(const RowBody& body) {
  if (!body.n || !body.nll_sum || *body.n <= 0) return std::nullopt;
  Reading reading{.x = *body.nll_sum / static_cast<double>(*body.n),
                  .se = body.se,
                  .clusters = body.clusters,
                  .n_clusters = body.n_clusters};
  if (body.n_clusters && *body.n_clusters > 1) {
    reading.df = static_cast<double>(*body.n_clusters) - 1.0;
  }
  if (body.df && *body.df > 0.0) reading.df = *body.df;
  const bool is_of_blocks = reading.clusters == TextClusters::kBlocks;
  // Without an error, too few of them have most of the tokens.
  if (!is_of_blocks || reading.se) reading.blocks = PartsOf(body.blocks);
  reading.blocks.df = static_cast<double>(reading.blocks.parts.size()) - 1.0;
  if (is_of_blocks) reading.blocks.df = std::min(reading.blocks.df, reading.df);
  return reading;
}

std::optional<Reading> Scaled(std::optional<Reading> reading, double factor) {
  if (!reading) return reading;
  reading->x *= factor;
  if (reading->se) *reading->se *= factor;
  for (double& part : reading->blocks.parts) part *= factor;
  return reading;
}

std::optional<Reading> ReadBitsPerToken(const RowBody& body) {
  return Scaled(ReadNll(body), 1.0 / std::numbers::ln2);
}

// The number of bytes is a constant of the scored text, so the error of nll scales with it.
std::optional<Reading> ReadBitsPerByte(const RowBody& body) {
  if (!body.n_bytes || !body.n || *body.n_bytes <= 0) return std::nullopt;
  const double tokens_per_byte = static_cast<double>(*body.n) / static_cast<double>(*body.n_bytes);
  return Scaled(ReadNll(body), tokens_per_byte / std::numbers::ln2);
}

std::optional<Reading> ReadValue(const RowBody& body) {
  if (!body.value) return std::nullopt;
  return Reading{.x = *body.value, .se = body.se};
}

// The standard error of a share is 0 at 0 and at 1, even if a few questions prove little. Wilson's
// interval is not 0 there: its width in units of a normal distribution's deviations
// serves as the error.
std::optional<Reading> ReadShare(const RowBody& body) {
  std::optional<Reading> reading = ReadValue(body);
  if (!reading || !body.wilson95) return reading;
  const auto& [low, high] = *body.wilson95;
  constexpr double kDeviations = 2 * 1.959963984540054;  // across 95 % of a normal distribution
  reading->se = (high - low) / kDeviations;
  if (body.n && *body.n > 0) reading->n_answers = static_cast<double>(*body.n);
  reading->scores = body.scores;
  return reading;
}

constexpr std::string_view kNll = "nll", kPseudo = "pseudo_", kByPosition = "_by_position";

// Rows whose metric is PREFIXnllSUFFIX; derived metrics are named like PREFIXperplexitySUFFIX.
struct NllSource {
  std::string_view prefix, suffix;

  std::string NameOf(std::string_view metric) const { return Str(prefix, metric, suffix); }
};
constexpr NllSource kNllSources[] = {{"", ""}, {kPseudo, ""}, {"", kByPosition}};

void AddMetricsOfNll(const NllSource& source, std::vector<ResultMetric>& metrics) {
  const auto add = [&](std::string_view name, bool is_log, auto reader) {
    metrics.push_back({.name = source.NameOf(name),
                       .source = source.NameOf(kNll),
                       .better = ResultMetric::Better::kLower,
                       .is_log = is_log,
                       .reader = reader});
  };
  add("perplexity", true, ReadNll);
  add(kNll, false, ReadNll);
  add("bits_per_token", false, ReadBitsPerToken);
  // A bucket's row does not have its number of bytes.
  if (source.suffix.empty()) add("bits_per_byte", false, ReadBitsPerByte);
}

// Guesses from words in the name which way is better; without such a word, nothing is marked.
ResultMetric::Better BetterByName(std::string_view name) {
  constexpr std::string_view kHigher[] = {"per_s", "acc", "recall", "f1", "rouge", "exact"};
  constexpr std::string_view kLower[] = {"bytes", "loss", "ms", "seconds"};
  const auto within = [name](std::string_view word) {
    return name.find(word) != std::string_view::npos;
  };
  const auto at_end = [name](std::string_view word) { return name.ends_with(word); };
  if (std::ranges::any_of(kHigher, within)) return ResultMetric::Better::kHigher;
  if (std::ranges::any_of(kLower, at_end)) return ResultMetric::Better::kLower;
  return ResultMetric::Better::kNeither;
}

}  // namespace

bool ResultMetric::is_share() const {
  return name == "acc" || name.starts_with("acc_") || name == "recall" || name == "exact";
}

std::string ResultMetric::words() const {
  std::string text = name;
  const auto end_with = [&text](std::string_view end, std::string_view with) {
    if (text.ends_with(end)) text.replace(text.size() - end.size(), end.size(), with);
  };
  end_with(kByPosition, "");  // the table's title says "by tokens of context"
  if (text.starts_with(kPseudo)) text.replace(0, kPseudo.size(), "pseudo-");
  end_with("_per_s", "/s");
  end_with("peak_bytes", "peak memory");
  std::ranges::replace(text, '_', ' ');
  return text;
}

double BlocksError(const std::vector<double>& parts) {
  LR_CHECK(parts.size() > 1);
  double squares = 0.0;
  for (const double part : parts) squares += part * part;
  const auto q = static_cast<double>(parts.size());
  return std::sqrt(squares / (q * (q - 1.0)));
}

std::optional<Reading> ResultMetric::Read(const RowBody& body) const {
  return reader == nullptr ? ReadValue(body) : reader(body);
}

double ResultMetric::Value(double x) const { return is_log ? std::exp(x) : x; }

double ResultMetric::ValueError(double x, double se) const {
  return is_log ? std::exp(x) * se : se;
}

std::set<std::string> SourcesOf(const std::vector<SweepResults>& results) {
  std::set<std::string> sources;
  for (const SweepResults& result : results) {
    const RowBody* last = nullptr;  // rows of one metric are mostly adjacent
    for (const ResultRow& row : result.rows) {
      const RowBody& body = row.body;
      const bool is_as_before =
          last != nullptr && last->metric == body.metric && last->protocol == body.protocol;
      if (!is_as_before) AddSources(body.metric, body.protocol, sources);
      last = &body;
    }
  }
  return sources;
}

std::string TextOf(const ResultRun& run, const ResultRow& row) {
  const std::string digest = DigestOfText(row.evaluation, DatasetDigest(run));
  return Str(digest.empty() ? run.dataset : digest, " ",
             row.body.split ? std::string_view(*row.body.split) : "");
}

void AddSources(const std::string& metric, const std::optional<std::string>& protocol,
                std::set<std::string>& sources) {
  sources.insert(metric);
  if (HasBuckets(metric, protocol)) sources.emplace(kNllByPosition);
}

std::string OtherMetricsNote(const std::vector<SweepResults>& results) {
  std::set<std::string> sources = SourcesOf(results);
  const bool has_nll =
      sources.erase(std::string(kNll)) > 0 || sources.erase(Str(kPseudo, kNll)) > 0;
  if (!has_nll || sources.empty()) return "";
  const std::vector<std::string> others(sources.begin(), sources.end());
  return Str("also measured: ", Join(others, ", "), "; --metric shows ",
             others.size() == 1 ? "it" : "them");
}

std::vector<ResultMetric> MetricsOf(const std::set<std::string>& sources) {
  std::vector<ResultMetric> metrics;
  std::set<std::string> others = sources;
  for (const NllSource& source : kNllSources) {
    if (others.erase(source.NameOf(kNll)) > 0) AddMetricsOfNll(source, metrics);
  }
  metrics.reserve(metrics.size() + others.size());
  for (const std::string& source : others) {
    ResultMetric& metric = metrics.emplace_back(
        ResultMetric{.name = source, .source = source, .better = BetterByName(source)});
    if (metric.is_share()) metric.reader = &ReadShare;
  }
  // Speed before its costs; otherwise in order of names.
  std::ranges::stable_sort(metrics, {}, [](const ResultMetric& metric) {
    return metric.is_nll() ? 0 : metric.name.ends_with("_per_s") ? 1 : 2;
  });
  return metrics;
}

std::optional<std::int64_t> FewerClusters(const std::optional<std::int64_t>& a,
                                          const std::optional<std::int64_t>& b) {
  if (!a || !b) return a ? a : b;
  return std::min(*a, *b);
}

std::optional<Reading> RelativeTo(const ResultMetric& metric, const Reading& reading,
                                  const Reading& reference) {
  if (!metric.is_log && reference.x == 0.0) return std::nullopt;
  // ln(a / b) = ln a - ln b;  d(a / b) = da / b - a / b^2 db
  const double ratio = metric.is_log ? 0.0 : reading.x / reference.x;
  const double of_a = metric.is_log ? 1.0 : 1.0 / reference.x;
  const double of_b = metric.is_log ? -1.0 : -ratio / reference.x;
  Reading out{.x = metric.is_log ? reading.x - reference.x : ratio,
              .clusters = std::max(reading.clusters, reference.clusters),
              .n_clusters = FewerClusters(reading.n_clusters, reference.n_clusters),
              .is_difference = true};
  if (reading.blocks.parts.size() > 1 && reading.blocks.begin == reference.blocks.begin) {
    out.blocks = reading.blocks;
    for (std::size_t b = 0; b < out.blocks.parts.size(); ++b) {
      out.blocks.parts[b] = of_a * reading.blocks.parts[b] + of_b * reference.blocks.parts[b];
    }
    out.se = BlocksError(out.blocks.parts);
    out.df = out.blocks.df = std::min(reading.blocks.df, reference.blocks.df);
  } else if (reading.se && reference.se) {
    out.se = std::hypot(of_a * *reading.se, of_b * *reference.se);
    out.df = std::min(reading.df, reference.df);
  }
  return out;
}

}  // namespace longrun::client
