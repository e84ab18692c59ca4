#include "client/tables/pivot_cell.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <set>
#include <string>

#include "base/str.h"
#include "client/tables/comparison.h"
#include "client/tables/hidden_keys.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

// An axis whose values keep the runs apart that differ in more than their seed: "sweep", or one of
// the matrix. "" if there is none.
std::string AxisApart(const std::vector<SeedRow>& seeds) {
  std::vector<std::string> axes = {"sweep"};
  for (const auto& [axis, value] : seeds.front().run->run->axes.items()) {
    if (axis != "seed") axes.push_back(axis);
  }
  const auto keeps_apart = [&](const std::string& axis) {
    std::map<Json, std::string> folded;
    return std::ranges::all_of(seeds, [&](const SeedRow& seed) {
      const auto [at, is_new] = folded.try_emplace(RunValue(*seed.run, axis), seed.run->folded);
      return is_new || at->second == seed.run->folded;
    });
  };
  const auto found = std::ranges::find_if(axes, keeps_apart);
  return found == axes.end() ? "" : *found;
}

// How different runs that would fall into one cell differ.
Status RefuseToFold(const RunRef& a, const RunRef& b, const std::vector<SeedRow>& seeds,
                    const std::vector<std::string>* row_axes) {
  std::vector<std::string> paths;
  for (const Difference& difference :
       DifferencesOf(WithoutDerivedKeys(*a.run), WithoutDerivedKeys(*b.run))) {
    paths.push_back(difference.path);
  }
  if (paths.empty()) paths.emplace_back("train.optimizer.min_lr");  // in its last digit
  std::string remedy = "add this to --rows or --cols, or choose one value with --where";
  if (paths.size() > 1) {
    remedy = "add these to --rows or --cols, or choose one value of each with --where";
    const std::string axis = row_axes == nullptr ? "" : AxisApart(seeds);
    if (!axis.empty()) {
      std::vector<std::string> rows = *row_axes;
      rows.push_back(axis);
      remedy = Str("`--rows ", Join(rows, ","), "` keeps them apart; or choose one value of ", axis,
                   " with --where");
    }
  }
  std::string unknown;
  for (const RunRef* run : {&a, &b}) {
    if (run->run->ancestry.unknown.empty() || !unknown.empty()) continue;
    unknown =
        Str("; the coordinator does not know run ", ShortId(run->run->ancestry.unknown.front()),
            ", from which run ", ShortId(run->run_key()),
            " starts, so longrun cannot tell whether only its seed differs");
  }
  return {Code::kInvalidArgument, Str("one cell of the table would combine runs that differ in ",
                                      Join(paths, ", "), ": ", remedy, unknown)};
}

// A row's number on the scale of the fold, or nothing, with the reason in `status`.
std::optional<Reading> ReadRow(const ResultMetric& metric, const ResultRow* row,
                               std::string& status) {
  status = row == nullptr ? "missing" : row->body.status;
  if (status != "ok") return std::nullopt;
  const std::optional<Reading> reading = metric.Read(row->body);
  if (!reading) status = "not_applicable";
  return reading;
}

std::optional<Reading> ReadSeed(const ResultMetric& metric, const SeedRow& seed, bool relative,
                                std::string& status) {
  const std::optional<Reading> reading = ReadRow(metric, seed.row, status);
  if (!reading || !relative) return reading;
  const std::optional<Reading> reference = ReadRow(metric, seed.reference, status);
  if (seed.reference == nullptr) status = kNoReference;
  if (!reference) return std::nullopt;
  const std::optional<Reading> ratio = RelativeTo(metric, *reading, *reference);
  if (!ratio) status = kZeroReference;
  return ratio && seed.is_reference ? Reading{.x = metric.is_log ? 0.0 : 1.0} : ratio;
}

// What is summed over the seeds that have a number.
struct Sums {
  std::vector<Reading> readings = {};
  double nll_sum = 0.0;
  double bytes = 0.0;
  double nll = 0.0;

  // The tokens that were scored.
  std::int64_t Add(const Reading& reading, const RowBody& body) {
    readings.push_back(reading);
    const std::int64_t n = body.n.value_or(0);
    if (n > 0 && body.nll_sum) {
      nll_sum += *body.nll_sum;
      nll += *body.nll_sum / static_cast<double>(n);
      bytes += static_cast<double>(body.n_bytes.value_or(0));
    }
    return n;
  }
};

// The cell's value and errors from its estimate. `is_log`: the estimate's scale is ln(value).
void SetEstimate(const Estimate& estimate, bool is_log, bool is_difference, PivotCell& cell) {
  cell.estimate = estimate;
  cell.value = is_log ? std::exp(estimate.x) : estimate.x;
  const double slope = is_log ? *cell.value : 1.0;  // delta method
  cell.error = estimate.shown(is_difference);
  const ErrorPart& part = cell.error.part;
  cell.se = part.se ? std::optional(slope * *part.se) : std::nullopt;
  const std::optional<double> half95 = part.half95();
  cell.half95 = half95 ? std::optional(slope * *half95) : std::nullopt;
}

std::optional<Quantiles> MeanQuantiles(const std::vector<SeedRow>& seeds) {
  Quantiles mean{};
  double n_rows = 0.0;
  for (const SeedRow& seed : seeds) {
    if (seed.row == nullptr || seed.row->body.status != "ok") continue;
    const std::optional<Quantiles>& one = seed.row->body.quantiles;
    if (!one) return std::nullopt;
    n_rows += 1.0;
    for (std::size_t i = 0; i < mean.size(); ++i) mean[i] += (*one)[i];
  }
  if (n_rows == 0.0) return std::nullopt;
  for (double& quantile : mean) quantile /= n_rows;
  return mean;
}

// Whether a row of pll_approximate is as exact as one of pll, since no window had two of the tokens
// that were scored.
bool HidOneAtATime(const RowBody& body) {
  return body.protocol == "pll_approximate" && body.passes && body.passes == body.n;
}

void NoteClusters(PivotCell& cell) {
  for (const SeedReading& one : cell.readings) {
    cell.clusters = std::max(cell.clusters, one.reading.clusters);
    cell.n_clusters = FewerClusters(cell.n_clusters, one.reading.n_clusters);
  }
}

// A relative cell is 1 if nothing differs: 0 on a log scale.
std::optional<PValues> DifferenceFromEquality(const ResultMetric& metric, Estimate relative) {
  if (!metric.is_log) relative.x -= 1.0;
  return relative.p();
}

// The readings on the scale on which two values of the metric are compared.
std::vector<SeedReading> ForComparison(const ResultMetric& metric,
                                       std::vector<SeedReading> readings) {
  if (metric.is_log || !ComparesAsRatio(metric)) return readings;
  for (SeedReading& one : readings) {
    Reading& reading = one.reading;
    if (reading.se) *reading.se /= std::abs(reading.x);
    reading.blocks = {};
    reading.x = std::log(reading.x);
  }
  return readings;
}

// A comparison with the mean of some of the seeds is no more complete than that.
void NoteIncomplete(const PivotCell& reference, PivotCell& cell) {
  if (reference.n_ok >= reference.n_wanted) return;
  cell.n_ok = std::min(cell.n_ok, reference.n_ok);
  cell.n_answered = std::min(cell.n_answered, reference.n_answered);
  cell.n_wanted = std::max(cell.n_wanted, reference.n_wanted);
  if (cell.status == "ok") cell.status = reference.status;
}

}  // namespace

bool ComparesAsRatio(const ResultMetric& metric) {
  return !metric.is_share() && (metric.is_log || !metric.is_nll());
}

std::optional<PairedDifference> CompareCells(const PivotCell& reference, const PivotCell& cell) {
  if (reference.readings.empty() || cell.readings.empty()) return std::nullopt;
  const std::vector<SeedReading> a = ForComparison(cell.metric, reference.readings);
  const std::vector<SeedReading> b = ForComparison(cell.metric, cell.readings);
  const auto is_finite = [](const SeedReading& one) { return std::isfinite(one.reading.x); };
  if (!std::ranges::all_of(a, is_finite) || !std::ranges::all_of(b, is_finite)) return std::nullopt;
  return Compare(a, b);
}

void SetAgainst(const PivotCell* reference, PivotCell& cell) {
  cell.se = cell.half95 = cell.nll = cell.bits_per_byte = std::nullopt;
  cell.quantiles.reset();
  for (SeedValue& seed : cell.seeds) seed.value = seed.se = std::nullopt;
  if (cell.readings.empty()) return;
  cell.value.reset();
  if (reference == nullptr || reference->readings.empty()) {
    cell.status = kNoReference;
    return;
  }
  const std::optional<PairedDifference> compared = CompareCells(*reference, cell);
  if (!compared) {
    cell.status = "not_applicable";  // as a ratio to zero
    return;
  }
  const PairedDifference& difference = *compared;
  // Variants of a model share their cells, so the values must be equal, too.
  const bool is_itself =
      difference.estimate.x == 0.0 &&
      std::ranges::equal(cell.seeds, reference->seeds, {}, &SeedValue::cell, &SeedValue::cell);
  Estimate estimate = difference.estimate;
  if (is_itself) estimate.seeds = estimate.text = {};  // it has no error
  SetEstimate(estimate, ComparesAsRatio(cell.metric), /*is_difference=*/true, cell);
  if (cell.status == "ok" && !std::isfinite(*cell.value)) cell.status = kOverflow;
  cell.is_text_paired = difference.is_text_paired;
  cell.n_seeds_matched = difference.n_seeds_matched;
  cell.clusters = std::max(cell.clusters, reference->clusters);
  cell.n_clusters = FewerClusters(cell.n_clusters, reference->n_clusters);
  NoteIncomplete(*reference, cell);
  if (!is_itself) cell.p = difference.estimate.p();
}

Result<PivotCell> FoldSeeds(const ResultMetric& metric, const std::vector<SeedRow>& seeds,
                            bool relative, const std::vector<std::string>* row_axes) {
  const RunRef& first = *seeds.front().run;
  PivotCell cell{.status = "ok", .metric = metric};
  Sums sums;
  std::set<std::string> run_keys;
  for (const SeedRow& seed : seeds) {
    if (std::ranges::find(cell.sweeps, seed.run->sweep) == cell.sweeps.end()) {
      cell.sweeps.push_back(seed.run->sweep);
    }
    if (!run_keys.insert(seed.run->run_key()).second) continue;
    if (seed.run->folded != first.folded) {
      return RefuseToFold(first, *seed.run, seeds, row_axes);
    }
    SeedValue value{.seed = seed.run->seed, .run_key = seed.run->run_key()};
    if (seed.row != nullptr) {
      value.cell = seed.row->cell;
      value.attempt = seed.row->attempt;
    }
    std::optional<Reading> reading = ReadSeed(metric, seed, relative, value.status);
    if (reading && seed.row != nullptr) {
      reading->blocks.text = TextOf(*seed.run->run, *seed.row);
    }
    cell.n_wanted += 1;
    const bool is_open = value.status == "missing" || value.status == "failed" ||
                         value.status == "cancelled" || value.status == "damaged";
    if (!is_open) cell.n_answered += 1;
    if (value.status != "ok" && (cell.status == "ok" || cell.status == "missing")) {
      cell.status = value.status;
      if (seed.row != nullptr) cell.reason = seed.row->body.reason;
    }
    if (reading) {
      value.n = sums.Add(*reading, seed.row->body);
      cell.readings.push_back({.seed = seed.run->seeds, .reading = *reading});
      value.value = metric.Value(reading->x);
      if (reading->se) value.se = metric.ValueError(reading->x, *reading->se);
      if (std::isinf(*value.value)) value.status = kOverflow;
      cell.n += value.n;
      cell.longest_prompt =
          std::max(cell.longest_prompt, seed.row->body.longest_prompt.value_or(0));
      cell.context_length = seed.row->body.context_length.value_or(0);
      cell.hid_one_at_a_time = cell.hid_one_at_a_time || HidOneAtATime(seed.row->body);
    }
    cell.seeds.push_back(std::move(value));
  }
  // A mean over the other seeds would be another number than the one that was measured.
  const auto is_damaged = [](const SeedValue& value) { return value.status == "damaged"; };
  if (std::ranges::any_of(cell.seeds, is_damaged)) {
    cell.status = "damaged";
    cell.n = 0;
    cell.readings.clear();
    return cell;
  }
  cell.n_ok = sums.readings.size();
  if (sums.readings.empty()) return cell;
  Estimate mean = MeanOf(sums.readings);
  // A number relative to itself has no error.
  const bool is_itself = std::ranges::all_of(seeds, &SeedRow::is_reference) && relative;
  if (is_itself) mean.seeds = {};
  SetEstimate(mean, metric.is_log, /*is_difference=*/relative, cell);
  if (cell.status == "ok" && std::isinf(*cell.value)) cell.status = kOverflow;
  NoteClusters(cell);
  if (metric.is_speed() && !relative) cell.quantiles = MeanQuantiles(seeds);
  cell.is_text_paired = std::ranges::all_of(sums.readings, [](const Reading& reading) {
    return reading.is_difference && !reading.blocks.parts.empty();
  });
  const bool is_difference = std::ranges::any_of(sums.readings, &Reading::is_difference);
  if (is_difference) cell.p = DifferenceFromEquality(metric, cell.estimate);
  if (metric.is_nll()) cell.nll = sums.nll / static_cast<double>(cell.n_ok);
  if (sums.bytes > 0) cell.bits_per_byte = sums.nll_sum / std::numbers::ln2 / sums.bytes;
  return cell;
}

}  // namespace longrun::client
