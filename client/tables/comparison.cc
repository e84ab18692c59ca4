#include "client/tables/comparison.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/str.h"
#include "client/tables/metric.h"

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

// What identifies a number, in the order in which numbers are listed.
Json PlaceOf(const ResultRow& row) {
  const Json& body = row.body;
  Json place = Json::array();
  for (const char* key : {"metric", "split", "protocol"}) place.push_back(body.value(key, Json()));
  place.push_back(row.evaluation);  // two may differ only in a parameter
  for (const char* key : {"variant", "depth", "context_length"}) {
    place.push_back(body.value(key, Json()));
  }
  return place;
}

ResultMetric MetricFor(const std::string& source) { return MetricsOf({source}).front(); }

// One side's number at one place: a reading, or the reason why there is none.
struct Side {
  std::string status = "absent";
  std::optional<Reading> reading = {};
};

Side SideOf(const ResultMetric& metric, const Json* body) {
  if (body == nullptr) return {};
  Side side{.status = body->at("status").get<std::string>()};
  if (side.status == "ok") side.reading = metric.Read(*body);
  return side;
}

using BodyPair = std::pair<const Json*, const Json*>;

ResultDifference Compare(const Json& place, const std::vector<BodyPair>& seeds) {
  const ResultMetric metric = MetricFor(place[0].get<std::string>());
  ResultDifference out{.metric = metric.name,
                       .context_length = place[6],
                       .split = place[1],
                       .protocol = place[2],
                       .variant = place[4],
                       .depth = place[5],
                       .evaluation = place[3],
                       .status_a = "ok",
                       .status_b = "ok"};
  std::vector<Reading> as;
  std::vector<Reading> bs;
  std::vector<Reading> differences;
  for (const auto& [body_a, body_b] : seeds) {
    const Side a = SideOf(metric, body_a);
    const Side b = SideOf(metric, body_b);
    if (a.status != "ok") out.status_a = a.status;
    if (b.status != "ok") out.status_b = b.status;
    if (a.reading) as.push_back(*a.reading);
    if (b.reading) bs.push_back(*b.reading);
    if (!a.reading || !b.reading) continue;
    Reading difference{.x = b.reading->x - a.reading->x};
    if (a.reading->se && b.reading->se) {
      difference.se = std::hypot(*a.reading->se, *b.reading->se);
    }
    differences.push_back(difference);
  }
  if (!as.empty()) out.a = metric.Value(MeanOf(as).x);
  if (!bs.empty()) out.b = metric.Value(MeanOf(bs).x);
  if (out.a && std::isinf(*out.a)) out.status_a = kOverflow;
  if (out.b && std::isinf(*out.b)) out.status_b = kOverflow;
  if (differences.size() < seeds.size()) return out;  // one side lacks the number of a seed
  const Reading mean = MeanOf(differences);
  out.difference = mean.x == 0.0 ? 0.0 : *out.b - *out.a;  // equal infinities differ by 0, too
  if (!mean.se) return out;
  if (*mean.se > 0.0) out.z = mean.x / *mean.se;
  if (differences.size() == 1) {
    out.se =
        std::hypot(metric.ValueError(as[0].x, *as[0].se), metric.ValueError(bs[0].x, *bs[0].se));
  } else {
    // d(B - A) = B db - A da; db - da varies from seed to seed,
    // so it is scaled by the middle of both.
    out.se = metric.ValueError((MeanOf(as).x + MeanOf(bs).x) / 2, *mean.se);
  }
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

std::vector<Difference> DifferencesOf(const Json& a, const Json& b) {
  std::vector<Difference> differences;
  Collect("", a, b, differences);
  return differences;
}

std::vector<ResultDifference> CompareRows(const std::vector<RowsPair>& seeds) {
  std::map<Json, std::vector<BodyPair>> places;
  for (std::size_t s = 0; s < seeds.size(); ++s) {
    const auto at = [&](const ResultRow& row) -> BodyPair& {
      std::vector<BodyPair>& pairs = places[PlaceOf(row)];
      pairs.resize(seeds.size());
      return pairs[s];
    };
    for (const ResultRow& row : seeds[s].a) at(row).first = &row.body;
    for (const ResultRow& row : seeds[s].b) at(row).second = &row.body;
  }
  std::vector<ResultDifference> out;
  out.reserve(places.size());
  for (const auto& [place, pairs] : places) out.push_back(Compare(place, pairs));
  return out;
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
