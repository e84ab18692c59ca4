#include "client/tables/pivot_cell.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>
#include <string>

#include "base/str.h"

namespace longrun::client {
namespace {

// How different runs that would fall into one cell differ.
Status RefuseToFold(const RunRef& a, const RunRef& b) {
  const Json difference = Json::diff(a.run->resolved, b.run->resolved);
  std::vector<std::string> paths;
  for (const Json& step : difference) {
    std::string path = step.at("path").get<std::string>().substr(1);
    std::ranges::replace(path, '/', '.');
    if (path != "seed") paths.push_back(path);
  }
  return {Code::kInvalidArgument,
          Str("one cell would hold runs that differ in ", Join(paths, ", "),
              ": name that in --rows or --cols, or choose one with --where")};
}

// A row's number on the scale of the fold, or nothing, with the reason in `status`.
std::optional<Reading> ReadRow(const ResultMetric& metric, const ResultRow* row,
                               std::string& status) {
  status = row == nullptr ? "missing" : row->body.at("status").get<std::string>();
  if (status != "ok") return std::nullopt;
  const std::optional<Reading> reading = metric.Read(row->body);
  if (!reading) status = "not_applicable";
  return reading;
}

std::optional<Reading> ReadSeed(const ResultMetric& metric, const SeedRow& seed, bool relative,
                                std::string& status) {
  const std::optional<Reading> reading = ReadRow(metric, seed.row, status);
  if (!reading || !relative) return reading;
  if (seed.is_reference) return Reading{.x = metric.is_log ? 0.0 : 1.0, .se = 0.0};
  const std::optional<Reading> reference = ReadRow(metric, seed.reference, status);
  if (seed.reference == nullptr) status = "no_reference";
  if (!reference) return std::nullopt;
  return RelativeTo(metric, *reading, *reference);
}

// What is summed over the seeds that have a number.
struct Sums {
  std::vector<Reading> readings = {};
  double nll_sum = 0.0;
  double bytes = 0.0;
  double nll = 0.0;

  // The tokens that were scored.
  std::int64_t Add(const Reading& reading, const Json& body) {
    readings.push_back(reading);
    const auto number = [&body](const char* key) {
      const auto found = body.find(key);
      return found == body.end() || !found->is_number() ? 0.0 : found->get<double>();
    };
    const double n = number("n");
    if (n > 0 && body.contains("nll_sum") && body.at("nll_sum").is_number()) {
      nll_sum += number("nll_sum");
      nll += number("nll_sum") / n;
      bytes += number("bytes");
    }
    return static_cast<std::int64_t>(n);
  }
};

}  // namespace

Result<PivotCell> FoldSeeds(const ResultMetric& metric, const std::vector<SeedRow>& seeds,
                            bool relative) {
  const RunRef& first = *seeds.front().run;
  PivotCell cell{.status = "ok", .metric = metric};
  Sums sums;
  std::set<std::string> run_keys;
  for (const SeedRow& seed : seeds) {
    if (std::ranges::find(cell.sweeps, seed.run->sweep) == cell.sweeps.end()) {
      cell.sweeps.push_back(seed.run->sweep);
    }
    if (!run_keys.insert(seed.run->run_key()).second) continue;
    if (seed.run->folded != first.folded) return RefuseToFold(first, *seed.run);
    SeedValue value{.seed = seed.run->seed, .run_key = seed.run->run_key()};
    if (seed.row != nullptr) {
      value.cell = seed.row->cell;
      value.attempt = seed.row->attempt;
    }
    const std::optional<Reading> reading = ReadSeed(metric, seed, relative, value.status);
    cell.n_wanted += 1;
    const bool is_open = value.status == "missing" || value.status == "failed" ||
                         value.status == "cancelled" || value.status == "damaged";
    if (!is_open) cell.n_answered += 1;
    if (value.status != "ok" && (cell.status == "ok" || cell.status == "missing")) {
      cell.status = value.status;
    }
    if (reading) {
      value.n = sums.Add(*reading, seed.row->body);
      value.value = metric.Value(reading->x);
      if (reading->se) value.se = metric.ValueError(reading->x, *reading->se);
      if (std::isinf(*value.value)) value.status = kOverflow;
      cell.n += value.n;
    }
    cell.seeds.push_back(std::move(value));
  }
  // A mean over the other seeds would be another number than the one that was measured.
  const auto is_damaged = [](const SeedValue& value) { return value.status == "damaged"; };
  if (std::ranges::any_of(cell.seeds, is_damaged)) {
    cell.status = "damaged";
    cell.n = 0;
    return cell;
  }
  cell.n_ok = sums.readings.size();
  if (sums.readings.empty()) return cell;
  const Reading mean = MeanOf(sums.readings);
  cell.value = metric.Value(mean.x);
  if (cell.status == "ok" && std::isinf(*cell.value)) cell.status = kOverflow;
  if (mean.se) cell.se = metric.ValueError(mean.x, *mean.se);
  cell.se_is_over_seeds = sums.readings.size() > 1;
  if (metric.is_nll()) cell.nll = sums.nll / static_cast<double>(cell.n_ok);
  if (sums.bytes > 0) cell.bits_per_byte = sums.nll_sum / std::numbers::ln2 / sums.bytes;
  return cell;
}

}  // namespace longrun::client
