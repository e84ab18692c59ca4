#include "client/tables/comparison.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "base/str.h"
#include "client/tables/estimate.h"
#include "client/tables/metric.h"
#include "client/words/render.h"
#include "sweeps/evaluated_dataset.h"
#include "sweeps/extended.h"

namespace longrun::client {
namespace {

void Collect(const std::string& path, const Json& a, const Json& b,
             std::vector<Difference>& differences) {
  if (a == b) return;
  if (!a.is_object() || !b.is_object()) {
    differences.push_back({.path = path, .a = a, .b = b});
    return;
  }
  std::set<std::string> keys;
  for (const Json* side : {&a, &b}) {
    for (const auto& [key, value] : side->items()) keys.insert(key);
  }
  for (const std::string& key : keys) {
    Collect(path.empty() ? key : Str(path, ".", key), a.value(key, Json()), b.value(key, Json()),
            differences);
  }
}

void CollectLeaves(const Json& value, const std::string& path, Leaves& leaves) {
  for (const auto& [key, member] : value.items()) {
    const std::string at = path.empty() ? key : Str(path, ".", key);
    if (member.is_object() && !member.empty()) {
      CollectLeaves(member, at, leaves);
    } else {
      leaves[at] = member;
    }
  }
}

constexpr const char* kBaseline = "baseline";  // the parameter of an evaluation

// What identifies a number, in the order in which numbers are listed: that of a row that outlives
// this.
struct Place {
  const ResultRow* row = nullptr;
  // Only where it is not the row's own, see ComparableEvaluation().
  std::optional<Json> evaluation = {};

  auto Key() const {
    const RowBody& body = row->body;
    // Two evaluations may differ only in a parameter.
    return std::tie(body.metric, body.split, body.protocol,
                    evaluation ? *evaluation : row->evaluation, body.variant, body.depth,
                    body.context_length);
  }
  bool operator<(const Place& other) const { return Key() < other.Key(); }
};

// The row's evaluation without what does not change a model's number. The extension is as a person
// gives it, so that what follows from a run's train length is not a difference; the name of another
// dataset than the run's may change; a baseline only adds rows. Nullopt: it is the row's own.
std::optional<Json> ComparableEvaluation(const ResultRow& row, const ResultRun* run) {
  const bool has_extension = run != nullptr && !ExtensionOf(row.evaluation).is_null();
  const bool has_baseline = row.evaluation.is_object() && !row.evaluation.empty() &&
                            row.evaluation.begin()->is_object() &&
                            row.evaluation.begin()->contains(kBaseline);
  if (!has_extension && !has_baseline && !EvaluatedDatasetOf(row.evaluation)) return std::nullopt;
  Json evaluation = WithDigestOnly(WithoutExtension(row.evaluation));
  if (has_baseline) evaluation.begin()->erase(kBaseline);
  const Json extension = ExtensionOf(row.evaluation);
  if (!has_extension) {
    return extension.is_null() ? evaluation : WithExtension(std::move(evaluation), extension);
  }
  const Json length = run->resolved.value("/train/train_length"_json_pointer, Json(0));
  return WithExtension(std::move(evaluation),
                       ExtensionName(row.evaluation, length.get<std::int64_t>()));
}

Place PlaceOf(const ResultRow& row, const ResultRun* run) {
  return {.row = &row, .evaluation = ComparableEvaluation(row, run)};
}

ResultMetric MetricFor(const std::string& source) { return MetricsOf({source}).front(); }

// One side's number at one place: a reading, or the reason why there is none.
struct Side {
  std::string status = "absent";
  std::optional<Reading> reading = {};

  // Has a number, or was not measured.
  bool IsUsable() const { return reading.has_value() || status == "absent"; }
};

// A row, if there is one, and its run, if it is known.
struct RowOfRun {
  const ResultRow* row = nullptr;
  const ResultRun* run = nullptr;
};

Side SideOf(const ResultMetric& metric, const RowOfRun& one) {
  if (one.row == nullptr) return {};
  const RowBody& body = one.row->body;
  Side side{.status = body.status};
  if (side.status != "ok") return side;
  side.reading = metric.Read(body);
  if (side.reading && one.run != nullptr) side.reading->blocks.text = TextOf(*one.run, *one.row);
  return side;
}

using RowPair = std::pair<RowOfRun, RowOfRun>;

ResultDifference Compare(const ResultRow& of_place, const std::vector<RowPair>& seeds) {
  const RowBody& place = of_place.body;
  const ResultMetric metric = MetricFor(place.metric);
  ResultDifference out{.metric = metric.name,
                       .context_length = place.context_length,
                       .split = place.split,
                       .protocol = place.protocol,
                       .variant = place.variant,
                       .depth = place.depth,
                       .evaluation = of_place.evaluation,
                       .status_a = "ok",
                       .status_b = "ok"};
  std::vector<SeedReading> as, bs, paired_as, paired_bs;
  bool is_whole = true;  // no number is missing for another reason than that nothing was measured
  for (std::size_t s = 0; s < seeds.size(); ++s) {
    const Side a = SideOf(metric, seeds[s].first);
    const Side b = SideOf(metric, seeds[s].second);
    if (a.status != "ok") out.status_a = a.status;
    if (b.status != "ok") out.status_b = b.status;
    is_whole = is_whole && a.IsUsable() && b.IsUsable();
    if (a.reading) as.push_back({.seed = s, .reading = *a.reading});
    if (b.reading) bs.push_back({.seed = s, .reading = *b.reading});
    if (!a.reading || !b.reading) continue;
    paired_as.push_back(as.back());
    paired_bs.push_back(bs.back());
  }
  out.n_pairs = paired_as.size();
  if (is_whole && out.n_pairs > 0) {
    as = paired_as;
    bs = paired_bs;
    out.status_a = out.status_b = "ok";
  }
  const auto mean_of = [](const std::vector<SeedReading>& readings) {
    double mean = 0.0;
    for (const SeedReading& one : readings) {
      mean += one.reading.x / static_cast<double>(readings.size());
    }
    return mean;
  };
  if (!as.empty()) out.a = metric.Value(mean_of(as));
  if (!bs.empty()) out.b = metric.Value(mean_of(bs));
  if (out.a && std::isinf(*out.a)) out.status_a = kOverflow;
  if (out.b && std::isinf(*out.b)) out.status_b = kOverflow;
  if (!is_whole || out.n_pairs == 0) return out;
  const PairedDifference difference = Compare(as, bs);
  const Estimate& estimate = difference.estimate;
  out.difference = estimate.x == 0.0 ? 0.0 : *out.b - *out.a;  // equal infinities differ by 0, too
  out.is_text_paired = difference.is_text_paired;
  // The logarithmic mean (B - A) / (ln B - ln A): the interval on the value's scale then holds 0 if
  // and only if the one on the scale of nll does.
  const double slope = *out.difference == 0.0 || std::isinf(*out.difference)
                           ? metric.ValueError(mean_of(as), 1.0)
                           : *out.difference / estimate.x;
  const auto on_value_scale = [slope](const std::optional<double>& error) {
    return error ? std::optional(slope * *error) : std::nullopt;
  };
  const ErrorPart both = estimate.both();
  out.se_seeds = on_value_scale(estimate.seeds.se);
  out.se_text = on_value_scale(estimate.text.se);
  out.se = on_value_scale(both.se);
  out.half95 = on_value_scale(both.half95());
  out.p = estimate.p();
  if (both.se && *both.se > 0.0) out.z = estimate.x / *both.se;
  if (both.se && std::isfinite(both.df)) out.df = both.df;
  return out;
}

std::map<std::int64_t, double> PointsOf(const v1::GetSeriesResponse& series) {
  std::map<std::int64_t, double> points;
  for (int i = 0; i < series.step_size(); ++i) {
    if (std::isfinite(series.value(i))) points[series.step(i)] = series.value(i);
  }
  return points;
}

// The `started` record of a task's last attempt that began.
Json StartedOf(const v1::TaskInfo& task) {
  const Repeated<v1::AttemptInfo>& attempts = task.attempt_list();
  for (auto attempt = attempts.rbegin(); attempt != attempts.rend(); ++attempt) {
    Json started = JsonIn(attempt->started_json());
    if (started.is_object()) return started;
  }
  return nullptr;
}

}  // namespace

Leaves LeavesOf(const Json& object) {
  Leaves leaves;
  CollectLeaves(object, "", leaves);
  return leaves;
}

std::vector<Difference> DifferencesOf(const Json& a, const Json& b) {
  std::vector<Difference> differences;
  Collect("", a, b, differences);
  return differences;
}

std::vector<std::string> WhatDiffers(const std::vector<Json>& values) {
  std::vector<Leaves> leaves;
  std::map<std::string, std::set<Json>> different;  // by path; null: a value lacks it
  leaves.reserve(values.size());
  for (const Json& value : values) leaves.push_back(LeavesOf(value));
  for (const Leaves& one : leaves) {
    for (const auto& [path, leaf] : one) different[path];
  }
  for (auto& [path, all] : different) {
    for (const Leaves& one : leaves) {
      const auto leaf = one.find(path);
      all.insert(leaf == one.end() ? Json() : leaf->second);
    }
  }
  std::vector<std::string> texts;
  texts.reserve(values.size());
  for (const Leaves& one : leaves) {
    std::vector<std::string> parts;
    for (const auto& [path, all] : different) {
      if (all.size() == 1) continue;
      const auto leaf = one.find(path);
      parts.push_back(Str(path, "=", leaf == one.end() ? "–" : AxisText(leaf->second)));
    }
    texts.push_back(Join(parts, " "));
  }
  return texts;
}

std::vector<ResultDifference> CompareRows(const std::vector<RowsPair>& seeds) {
  std::map<Place, std::vector<RowPair>> places;
  for (std::size_t s = 0; s < seeds.size(); ++s) {
    const auto at = [&](const ResultRow& row, const ResultRun* run) -> RowPair& {
      std::vector<RowPair>& pairs = places[PlaceOf(row, run)];
      pairs.resize(seeds.size());
      return pairs[s];
    };
    const auto& [a, b, run_a, run_b] = seeds[s];
    // A run may have a cell with and without a baseline.
    const auto put = [](const ResultRow& row, const ResultRun* run, auto& side) {
      if (side.row == nullptr || row.body.status == "ok") side = {.row = &row, .run = run};
    };
    for (const ResultRow& row : a) put(row, run_a, at(row, run_a).first);
    for (const ResultRow& row : b) put(row, run_b, at(row, run_b).second);
  }
  std::vector<ResultDifference> out;
  out.reserve(places.size());
  for (const auto& [place, pairs] : places) out.push_back(Compare(*place.row, pairs));
  return out;
}

void CorrectForNumber(std::vector<std::vector<ResultDifference>*> results) {
  std::vector<ResultDifference*> tested;
  std::vector<PValues> p;
  for (std::vector<ResultDifference>* list : results) {
    for (ResultDifference& one : *list) {
      if (!one.p) continue;
      tested.push_back(&one);
      p.push_back(*one.p);
    }
  }
  const std::vector<double> corrected = CorrectForNumber(p);
  for (std::size_t i = 0; i < tested.size(); ++i) tested[i]->p_holm = corrected[i];
}

std::optional<CurveDifference> CompareCurves(const v1::GetSeriesResponse& series_a,
                                             const v1::GetSeriesResponse& series_b) {
  const std::map<std::int64_t, double> a = PointsOf(series_a);
  const std::map<std::int64_t, double> b = PointsOf(series_b);
  std::optional<CurveDifference> largest;
  std::int64_t n_steps = 0;
  for (const auto& [step, value] : a) {
    const auto other = b.find(step);
    if (other == b.end()) continue;
    ++n_steps;
    if (!largest || std::abs(value - other->second) > std::abs(largest->a - largest->b)) {
      largest = {.n_steps = 0, .step = step, .a = value, .b = other->second};
    }
  }
  if (largest) largest->n_steps = n_steps;
  return largest;
}

Json RecordsOf(const v1::RunInfo& run) {
  Json out = {{"execution", JsonIn(run.execution_json())}};
  for (const v1::TaskInfo& task : run.tasks()) {
    Json started = StartedOf(task);
    if (!started.is_object()) continue;
    // These describe the attempt, not the machine or the program.
    for (const char* key : {"pid", "command"}) started.erase(key);
    if (!out.contains(task.kind())) out[task.kind()] = std::move(started);
  }
  return out;
}

}  // namespace longrun::client
