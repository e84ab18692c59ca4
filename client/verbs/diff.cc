// longrun diff A B: the differences between two runs or two sweeps.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/str.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/tables/comparison.h"
#include "client/verb.h"
#include "client/wire/retrying_client.h"
#include "client/words/render.h"
#include "client/words/signs.h"
#include "sweeps/evaluation_name.h"

namespace longrun::client {
namespace {

constexpr std::size_t kRunDigitsMin = 8;  // a shorter word can only be a sweep's name

// One side: a run, or the runs of a sweep with their axes.
struct Subject {
  bool is_sweep = false;
  std::string name;
  SweepResults results = {};
  // By run key, moved out of `results`, so that each run's rows are found at once.
  std::map<std::string, std::vector<ResultRow>> rows = {};
};

struct DiffArguments {
  std::string a;
  std::string b;
  std::string curve = "loss";
  bool exit_code = false;
};

Subject MakeSubject(bool is_sweep, const std::string& name, const v1::GetResultsResponse& answer) {
  Subject subject{.is_sweep = is_sweep, .name = name, .results = ReadResults(name, answer)};
  for (ResultRow& row : subject.results.rows) {
    std::vector<ResultRow>& rows = subject.rows[row.run_key];
    rows.push_back(std::move(row));
  }
  subject.results.rows.clear();
  return subject;
}

Result<Subject> Find(RetryingClient& client, const std::string& thing) {
  const Result<v1::GetResultsResponse> sweep = client.GetResultsOfSweep(thing);
  if (sweep.ok()) {
    return MakeSubject(/*is_sweep=*/true, thing, *sweep);
  }
  if (sweep.status().code() != Code::kNotFound || thing.size() < kRunDigitsMin) {
    return sweep.status();
  }
  const Result<v1::GetResultsResponse> run = client.GetResultsOfRun(thing);
  if (run.ok()) {
    return MakeSubject(/*is_sweep=*/false, run->runs(0).run_key(), *run);
  }
  if (run.status().code() != Code::kNotFound) return run.status();
  return Status(Code::kNotFound, sweep.status().message() + "; and there is no such run");
}

std::vector<ResultRow> RowsOf(const Subject& subject, const std::string& run_key) {
  const auto rows = subject.rows.find(run_key);
  return rows == subject.rows.end() ? std::vector<ResultRow>() : rows->second;
}

// The same point of each side; null if that side lacks it.
using RunPair = std::pair<const ResultRun*, const ResultRun*>;

// Runs of both sides at the same point of the matrix, one pair for each seed.
struct Point {
  Json axes = Json::object();  // without the seed
  std::vector<RunPair> seeds = {};
};

std::vector<Point> Pair(const Subject& a, const Subject& b) {
  if (!a.is_sweep) {
    return {{.seeds = {{&a.results.runs[0], &b.results.runs[0]}}}};
  }
  std::map<Json, std::map<Json, RunPair>> points;
  std::vector<Json> order;
  const auto add = [&](const ResultRun& run, bool is_a) {
    Json axes = run.axes;
    const Json seed = axes.contains("seed") ? axes.at("seed") : run.resolved.at("seed");
    axes.erase("seed");
    if (!points.contains(axes)) order.push_back(axes);
    auto& pair = points[axes][seed];
    (is_a ? pair.first : pair.second) = &run;
  };
  for (const ResultRun& run : a.results.runs) add(run, true);
  for (const ResultRun& run : b.results.runs) add(run, false);
  std::vector<Point> out;
  out.reserve(order.size());
  for (const Json& axes : order) {
    Point point{.axes = axes};
    for (const auto& [seed, pair] : points.at(axes)) point.seeds.push_back(pair);
    out.push_back(std::move(point));
  }
  return out;
}

bool HasPair(const Point& point) {
  return std::ranges::any_of(point.seeds, [](const auto& pair) {
    return pair.first != nullptr && pair.second != nullptr;
  });
}

// Axis -> the values that a side's runs have on it.
std::map<std::string, std::set<Json>> ValuesOf(const Subject& subject) {
  std::map<std::string, std::set<Json>> values;
  for (const ResultRun& run : subject.results.runs) {
    for (const auto& [axis, value] : run.axes.items()) values[axis].insert(value);
    values["seed"].insert(run.resolved.at("seed"));
  }
  return values;
}

// Why no run of one sweep has a partner in the other, and what to do.
std::string WhyNothingPairs(const Subject& a, const Subject& b) {
  const auto of_a = ValuesOf(a), of_b = ValuesOf(b);
  std::set<std::string> axes;
  for (const auto* side : {&of_a, &of_b}) {
    for (const auto& [axis, values] : *side) axes.insert(axis);
  }
  const auto text = [](const auto& side, const std::string& axis) {
    const auto values = side.find(axis);
    if (values == side.end()) return std::string("no axis");
    std::vector<std::string> texts;
    texts.reserve(values->second.size());
    for (const Json& value : values->second) texts.push_back(AxisText(value));
    return Join(texts, ", ");
  };
  std::vector<std::string> apart;
  for (const std::string& axis : axes) {
    const auto at_a = of_a.find(axis), at_b = of_b.find(axis);
    const bool has_common = at_a != of_a.end() && at_b != of_b.end() &&
                            std::ranges::any_of(at_a->second, [&](const Json& value) {
                              return at_b->second.contains(value);
                            });
    if (has_common) continue;
    apart.push_back(Str(axis, " (a: ", text(of_a, axis), "; b: ", text(of_b, axis), ")"));
  }
  const auto first = [](const Subject& subject) {
    return ShortId(subject.results.runs[0].run_key);
  };
  return Str(
      "no runs to compare: runs are compared at the same point of the matrix, with the same seed, "
      "and the sweeps ",
      apart.empty() ? "have no point in common" : Str("share no value of ", Join(apart, ", ")),
      "; run one sweep with the other's values (--set), or compare two runs: `longrun diff ",
      first(a), " ", first(b), "`");
}

Json DifferencesJson(const std::vector<Difference>& differences) {
  Json list = Json::array();
  for (const Difference& one : differences) {
    list.push_back({{"path", one.path}, {"a", one.a}, {"b", one.b}});
  }
  return list;
}

bool IsEqual(const ResultDifference& one) {
  return one.status_a == one.status_b && (!one.a || (one.difference && *one.difference == 0.0));
}

Json ResultJson(const ResultDifference& one) {
  return {{"metric", one.metric},
          {"context_length", AxisValue(one.context_length)},
          {"split", AxisValue(one.split)},
          {"protocol", AxisValue(one.protocol)},
          {"variant", AxisValue(one.variant)},
          {"depth", AxisValue(one.depth)},
          {"evaluation", one.evaluation},
          {"status_a", one.status_a},
          {"status_b", one.status_b},
          {"a", NumberOrNull(one.a)},
          {"b", NumberOrNull(one.b)},
          {"difference", NumberOrNull(one.difference)},
          {"se", NumberOrNull(one.se)},
          {"z", NumberOrNull(one.z)},
          {"half95", NumberOrNull(one.half95)},
          {"se_seeds", NumberOrNull(one.se_seeds)},
          {"se_text", NumberOrNull(one.se_text)},
          {"df", NumberOrNull(one.df)},
          {"p", NumberOrNull(OnlyP(one.p))},
          {"p_holm", NumberOrNull(one.p_holm)},
          {"pairs", one.n_pairs},
          {"text_is_paired", one.is_text_paired}};
}

// The largest difference between the training curves of one pair of runs.
struct PairCurve {
  std::string run_a, run_b;  // run keys
  CurveDifference largest;
};

// How one point differs. Leaves out what is equal, so empty lists mean that nothing differs.
struct PointDifference {
  Json axes = Json::object();
  std::vector<std::pair<std::string, std::string>> runs = {};  // run keys; "" if a side has none
  std::vector<Difference> keys = {};
  std::vector<Difference> provenance = {};
  std::vector<ResultDifference> results = {};
  std::vector<PairCurve> curves = {};
  std::string metric = {};  // of the curves
};

Result<PointDifference> DiffPoint(RetryingClient& client, const Point& point, const Subject& a,
                                  const Subject& b, const std::string& curve) {
  PointDifference out{.axes = point.axes, .metric = curve};
  std::vector<RowsPair> rows;
  const bool has_pair = HasPair(point);
  for (const auto& [run_a, run_b] : point.seeds) {
    const std::string key_a = run_a == nullptr ? "" : run_a->run_key;
    const std::string key_b = run_b == nullptr ? "" : run_b->run_key;
    out.runs.emplace_back(key_a, key_b);
    const bool has_both = run_a != nullptr && run_b != nullptr;
    if (has_pair && !has_both) continue;  // means over other seeds could not be compared
    rows.push_back({.a = key_a.empty() ? std::vector<ResultRow>() : RowsOf(a, key_a),
                    .b = key_b.empty() ? std::vector<ResultRow>() : RowsOf(b, key_b),
                    .run_a = run_a,
                    .run_b = run_b});
    if (!has_both || key_a == key_b) continue;
    if (out.keys.empty()) out.keys = DifferencesOf(run_a->resolved, run_b->resolved);
    ASSIGN_OR_RETURN(const v1::GetRunResponse info_a, client.GetRun(key_a));
    ASSIGN_OR_RETURN(const v1::GetRunResponse info_b, client.GetRun(key_b));
    if (out.provenance.empty()) {
      out.provenance = DifferencesOf(RecordsOf(info_a.run()), RecordsOf(info_b.run()));
    }
    ASSIGN_OR_RETURN(const v1::GetSeriesResponse series_a, client.GetSeries(key_a, curve));
    ASSIGN_OR_RETURN(const v1::GetSeriesResponse series_b, client.GetSeries(key_b, curve));
    const auto largest = CompareCurves(series_a, series_b);
    if (!largest || largest->a == largest->b) continue;
    out.curves.push_back({.run_a = key_a, .run_b = key_b, .largest = *largest});
  }
  std::ranges::copy_if(CompareRows(rows), std::back_inserter(out.results),
                       [](const ResultDifference& one) { return !IsEqual(one); });
  return out;
}

// {"axes","runs":[[a, b]],"keys","provenance","results","curves"}
Json PointJson(const PointDifference& point) {
  Json runs = Json::array();
  for (const auto& [a, b] : point.runs) {
    runs.push_back(Json::array({a.empty() ? Json() : Json(a), b.empty() ? Json() : Json(b)}));
  }
  Json results = Json::array();
  for (const ResultDifference& one : point.results) results.push_back(ResultJson(one));
  Json curves = Json::array();
  for (const PairCurve& curve : point.curves) {
    const CurveDifference& largest = curve.largest;
    curves.push_back({{"metric", point.metric},
                      {"runs", {curve.run_a, curve.run_b}},
                      {"steps_in_common", largest.n_steps},
                      {"step", largest.step},
                      {"a", largest.a},
                      {"b", largest.b},
                      {"difference", largest.b - largest.a}});
  }
  return {{"axes", point.axes},
          {"runs", std::move(runs)},
          {"keys", DifferencesJson(point.keys)},
          {"provenance", DifferencesJson(point.provenance)},
          {"results", std::move(results)},
          {"curves", std::move(curves)}};
}

bool Differs(const PointDifference& point) {
  const auto lacks_one = [](const auto& pair) { return pair.first.empty() || pair.second.empty(); };
  return !point.keys.empty() || !point.provenance.empty() || !point.results.empty() ||
         !point.curves.empty() || std::ranges::any_of(point.runs, lacks_one);
}

std::string Short(const std::optional<double>& value, int digits) {
  if (!value || !std::isfinite(*value)) return "–";
  char text[64];
  std::snprintf(text, sizeof text, "%.*g", digits, *value);
  return text;
}

std::string Indented(const std::string& text) {
  std::string out;
  for (const std::string& line : Split(text, '\n')) {
    if (!line.empty()) out += "  " + line + "\n";
  }
  return out;
}

std::string KeysText(const std::string& title, const std::vector<Difference>& differences) {
  if (differences.empty()) return "";
  std::vector<std::vector<std::string>> rows;
  rows.reserve(differences.size());
  for (const Difference& one : differences) {
    const auto text = [](const Json& value) { return value.is_null() ? "–" : AxisText(value); };
    rows.push_back({one.path, text(one.a), text(one.b)});
  }
  return Indented(
      RenderColumns({title, "a", "b"}, {Align::kLeft, Align::kLeft, Align::kLeft}, rows));
}

// "perplexity validation sliding_bos(stride=16) unigram".
std::string ResultName(const ResultDifference& result, bool whole) {
  std::vector<std::string> parts = {result.metric};
  if (result.split) parts.push_back(AxisText(*result.split));
  const std::string evaluation = EvaluationName(result.evaluation, whole);
  if (!evaluation.empty()) {
    parts.push_back(evaluation);
  } else if (result.protocol) {
    parts.push_back(AxisText(*result.protocol));
  }
  if (result.variant) parts.push_back(AxisText(*result.variant));
  if (result.depth) parts.push_back("depth " + AxisText(*result.depth));
  return Join(parts, " ");
}

std::string ResultsText(const std::vector<ResultDifference>& results) {
  if (results.empty()) return "";
  // Show all parameters where evaluations could not be told apart otherwise.
  std::map<std::string, std::set<std::string>> alike;
  for (const ResultDifference& one : results) {
    alike[ResultName(one, false)].insert(ResultName(one, true));
  }
  const auto name_of = [&](const ResultDifference& one) {
    return ResultName(one, alike.at(ResultName(one, false)).size() > 1);
  };
  using Length = std::optional<std::int64_t>;
  std::map<std::pair<std::string, Length>, std::vector<const ResultDifference*>> by_label;
  for (const ResultDifference& one : results) {
    by_label[{name_of(one), one.context_length}].push_back(&one);
  }
  std::map<const ResultDifference*, std::string> apart;
  for (const auto& [label, same] : by_label) {
    if (same.size() == 1) continue;
    std::vector<Json> evaluations;
    for (const ResultDifference* one : same) evaluations.push_back(one->evaluation);
    const std::vector<std::string> texts = WhatDiffers(evaluations);
    for (std::size_t i = 0; i < same.size(); ++i) apart[same[i]] = texts[i];
  }
  std::vector<std::vector<std::string>> rows;
  rows.reserve(results.size());
  for (const ResultDifference& one : results) {
    const auto also = apart.find(&one);
    const auto side = [](const std::optional<double>& value, const std::string& status) {
      return value && std::isfinite(*value) ? Short(value, 6) : status;
    };
    rows.push_back({Str(name_of(one),
                        also == apart.end() || also->second.empty() ? "" : Str(" ", also->second)),
                    one.context_length ? std::to_string(*one.context_length) : "",
                    side(one.a, one.status_a), side(one.b, one.status_b), Short(one.difference, 4),
                    Short(one.half95, 3), Short(one.p_holm, 2)});
  }
  return Indented(RenderColumns({"result", "length", "a", "b", "b - a", "±", "p"},
                                {Align::kLeft, Align::kRight, Align::kRight, Align::kRight,
                                 Align::kRight, Align::kRight, Align::kRight},
                                rows));
}

// "1a2b3c4d, 5e6f7a8b and 98 more".
std::string SomeRuns(const std::vector<std::string>& run_keys) {
  constexpr std::size_t kShown = 3;
  std::vector<std::string> ids;
  for (const std::string& run : run_keys) {
    if (ids.size() < kShown) ids.push_back(ShortId(run));
  }
  const std::size_t n_more = run_keys.size() - ids.size();
  return n_more == 0 ? Join(ids, ", ") : Str(Join(ids, ", "), " and ", n_more, " more");
}

// The one line of a point that only one side has: its results would fill a page with "absent".
// "" of another point.
std::string OneSidedText(const PointDifference& point, const std::string& axes) {
  std::vector<std::string> of_a, of_b;
  for (const auto& [a, b] : point.runs) {
    if (!a.empty()) of_a.push_back(a);
    if (!b.empty()) of_b.push_back(b);
  }
  if (of_a.empty() == of_b.empty()) return "";
  const std::vector<std::string>& there = of_b.empty() ? of_a : of_b;
  return Str("a ", of_a.empty() ? "–" : SomeRuns(of_a), "   b ",
             of_b.empty() ? "–" : SomeRuns(of_b), axes.empty() ? "" : "   ", axes, "   only in ",
             of_b.empty() ? "a" : "b", ": ", Counted(std::ssize(there), "run"), ", ",
             Counted(std::ssize(point.results), "result"), "\n");
}

std::string PointText(const PointDifference& point) {
  std::vector<std::string> axes;
  for (const auto& [axis, value] : point.axes.items()) {
    axes.push_back(Str(axis, "=", AxisText(value)));
  }
  if (const std::string line = OneSidedText(point, Join(axes, " ")); !line.empty()) return line;
  std::string out;
  for (const auto& [a, b] : point.runs) {
    const auto name = [](const std::string& run) { return run.empty() ? "–" : ShortId(run); };
    StrAppend(out, Str("a ", name(a), "   b ", name(b), axes.empty() ? "" : "   ", Join(axes, " "),
                       "\n"));
  }
  out += KeysText("key", point.keys) + KeysText("provenance", point.provenance) +
         ResultsText(point.results);
  for (const PairCurve& curve : point.curves) {
    const CurveDifference& largest = curve.largest;
    StrAppend(out,
              Str("  ", point.metric, ": at most ", Short(std::abs(largest.b - largest.a), 4),
                  " apart, at step ", largest.step, " (", Short(largest.a, 6), ", ",
                  Short(largest.b, 6), "); ", Counted(largest.n_steps, "step"), " in common\n"));
  }
  return out;
}

// An empty line sets points apart that have more than one line.
std::string PointsText(const std::vector<PointDifference>& points) {
  std::string out;
  bool was_long = false;
  for (const PointDifference& point : points) {
    const std::string text = PointText(point);
    const bool is_long = text.find('\n') + 1 < text.size();
    if (!out.empty() && (is_long || was_long)) out += "\n";
    out += text;
    was_long = is_long;
  }
  return out;
}

// Whether the point has a complete pair and also a run without a partner.
bool HasHalfAPair(const PointDifference& point) {
  const auto is_whole = [](const auto& pair) {
    return !pair.first.empty() && !pair.second.empty();
  };
  const auto n_whole = std::ranges::count_if(point.runs, is_whole);
  return n_whole > 0 && static_cast<std::size_t>(n_whole) < point.runs.size();
}

// Explains ± and p.
std::string ErrorsText(const std::vector<PointDifference>& points) {
  bool over_seeds = false, over_text = false, is_unpaired = false;
  std::size_t n_tests = 0;
  for (const PointDifference& point : points) {
    for (const ResultDifference& one : point.results) {
      over_seeds = over_seeds || one.se_seeds;
      over_text = over_text || one.se_text;
      is_unpaired = is_unpaired || (one.se_text && !one.is_text_paired);
      if (one.p) ++n_tests;
    }
  }
  std::string text;
  if (over_seeds || over_text) {
    StrAppend(
        text,
        Str("±: 95 % interval of b - a, ",
            over_seeds && over_text ? "over seeds and text"
            : over_seeds            ? "over seeds"
                         : "over the text only (other seeds may give another difference)",
            is_unpaired ? "; for rows without common blocks of text it is an upper bound, since "
                          "both sides are treated as independent"
                        : "",
            "\n"));
  }
  if (n_tests > 0) {
    StrAppend(text,
              Str("p: probability of a difference this large by chance",
                  n_tests > 1 ? Str(", corrected for ", n_tests, " tests (Holm)") : "", "\n"));
  }
  if (std::ranges::any_of(points, &HasHalfAPair)) {
    text += "where both sides have a seed, seeds that only one of them has are left out\n";
  }
  return text;
}

int Diff(const DiffArguments& arguments, const std::string& output, const std::string& state) {
  RetryingClient client(state);
  const Result<Subject> a = Find(client, arguments.a);
  if (!a.ok()) return Report(a.status());
  const Result<Subject> b = Find(client, arguments.b);
  if (!b.ok()) return Report(b.status());
  if (a->is_sweep != b->is_sweep) {
    return Report(Status(
        Code::kInvalidArgument,
        Str("\"", arguments.a, "\" is a ", a->is_sweep ? "sweep" : "run", ", \"", arguments.b,
            "\" is a ", b->is_sweep ? "sweep" : "run", ": compare two runs or two sweeps")));
  }
  std::vector<PointDifference> points;
  const std::vector<Point> pairs = Pair(*a, *b);
  for (const Point& point : pairs) {
    Result<PointDifference> diff = DiffPoint(client, point, *a, *b, arguments.curve);
    if (!diff.ok()) return Report(diff.status());
    if (Differs(*diff)) points.push_back(*std::move(diff));
  }
  std::vector<std::vector<ResultDifference>*> tested;
  for (PointDifference& point : points) tested.push_back(&point.results);
  CorrectForNumber(std::move(tested));
  const bool differs = !points.empty();
  if (output == "json") {
    Json list = Json::array();
    for (const PointDifference& point : points) list.push_back(PointJson(point));
    Print(RenderJson({{"a", a->name}, {"b", b->name}, {"differ", differs}, {"points", list}}));
  } else if (!differs) {
    Print("no differences\n");
  } else {
    Print(ForTerminal(PointsText(points) + ErrorsText(points)));
  }
  if (std::ranges::none_of(pairs, HasPair)) {
    std::fprintf(stderr, "%s\n", WhyNothingPairs(*a, *b).c_str());
  }
  return differs && arguments.exit_code ? kExitFailed : kExitOk;
}

}  // namespace

void AddDiff(Verbs& verbs) {
  Verb verb = verbs.AddVerb("diff", "show how two runs or two sweeps differ");
  verb.AddExamples({"longrun diff my-sweep other-sweep", "longrun diff 1a2b3c4d 5e6f7a8b -o json"});
  auto arguments = std::make_shared<DiffArguments>();
  verb.AddArgument("A", arguments->a, "a run's id (8 digits or more), or a sweep's name or id")
      .Required();
  verb.AddArgument("B", arguments->b,
                   "what to compare A with: a run if A is a run, otherwise a sweep")
      .Required();
  verb.AddArgument("--curve", arguments->curve, "the training curve to compare").ShowDefault();
  verb.AddFlag("--exit-code", arguments->exit_code, "end with exit code 1 if A and B differ");
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, arguments, output] { return Diff(*arguments, *output, verbs.state); });
}

}  // namespace longrun::client
