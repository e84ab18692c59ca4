// longrun diff A B: the differences between two runs or two sweeps.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/str.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/tables/comparison.h"
#include "client/verb.h"
#include "client/wire/retrying_client.h"
#include "client/words/render.h"
#include "sweeps/evaluation_name.h"

namespace longrun {
namespace {

constexpr std::size_t kRunDigitsMin = 8;  // a shorter word can only be a sweep's name

// One side: a run, or the runs of a sweep with their axes.
struct Subject {
  bool is_sweep = false;
  std::string name;
  Json results = {};  // answer of GetResults
};

struct DiffArguments {
  std::string a;
  std::string b;
  std::string curve = "loss";
  bool exit_code = false;
};

Result<Subject> Find(RetryingClient& client, const std::string& thing) {
  Result<Json> sweep = client.Call("GetResults", {{"sweep", thing}});
  if (sweep.ok()) return Subject{.is_sweep = true, .name = thing, .results = *std::move(sweep)};
  if (sweep.status().code() != Code::kNotFound || thing.size() < kRunDigitsMin) {
    return sweep.status();
  }
  Result<Json> run = client.Call("GetResults", {{"run", thing}});
  if (run.ok()) {
    const std::string key = run->at("runs")[0].at("run_key").get<std::string>();
    return Subject{.name = key, .results = *std::move(run)};
  }
  if (run.status().code() != Code::kNotFound) return run.status();
  return Status(Code::kNotFound, sweep.status().message() + "; nor a run");
}

Json RowsOf(const Subject& subject, const std::string& run_key) {
  Json rows = Json::array();
  for (const Json& row : subject.results.at("rows")) {
    if (row.at("run_key") == run_key) rows.push_back(row);
  }
  return rows;
}

// Runs of both sides at the same point of the matrix, one pair for each seed.
struct Point {
  Json axes = Json::object();  // without the seed
  std::vector<std::pair<const Json*, const Json*>> seeds = {};
};

std::vector<Point> Pair(const Subject& a, const Subject& b) {
  if (!a.is_sweep) {
    return {{.seeds = {{&a.results.at("runs")[0], &b.results.at("runs")[0]}}}};
  }
  std::map<Json, std::map<Json, std::pair<const Json*, const Json*>>> points;
  std::vector<Json> order;
  const auto add = [&](const Json& run, bool is_a) {
    Json axes = run.at("axes");
    const Json seed = axes.contains("seed") ? axes.at("seed") : run.at("run").at("seed");
    axes.erase("seed");
    if (!points.contains(axes)) order.push_back(axes);
    auto& pair = points[axes][seed];
    (is_a ? pair.first : pair.second) = &run;
  };
  for (const Json& run : a.results.at("runs")) add(run, true);
  for (const Json& run : b.results.at("runs")) add(run, false);
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
  for (const Json& run : subject.results.at("runs")) {
    for (const auto& [axis, value] : run.at("axes").items()) values[axis].insert(value);
    values["seed"].insert(run.at("run").at("seed"));
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
    return ShortId(subject.results.at("runs")[0].at("run_key").get<std::string>());
  };
  return Str(
      "no runs to compare: runs are compared at the same point of the matrix, with the same seed, "
      "and the sweeps have ",
      apart.empty() ? "no point in common" : Str("nothing in common in ", Join(apart, ", ")),
      "; run one of them with the values of the other (--set), or compare two runs: `longrun "
      "diff ",
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
  return {{"metric", one.metric},         {"context_length", one.context_length},
          {"split", one.split},           {"protocol", one.protocol},
          {"variant", one.variant},       {"depth", one.depth},
          {"evaluation", one.evaluation}, {"status_a", one.status_a},
          {"status_b", one.status_b},     {"a", NumberOrNull(one.a)},
          {"b", NumberOrNull(one.b)},     {"difference", NumberOrNull(one.difference)},
          {"se", NumberOrNull(one.se)},   {"z", NumberOrNull(one.z)}};
}

// {"axes","runs":[[a, b]],"keys","provenance","results","curves"} of one point. Leaves out what is
// equal, so empty lists mean that nothing differs.
Result<Json> DiffPoint(RetryingClient& client, const Point& point, const Subject& a,
                       const Subject& b, const std::string& curve) {
  Json out = {{"axes", point.axes},          {"runs", Json::array()},    {"keys", Json::array()},
              {"provenance", Json::array()}, {"results", Json::array()}, {"curves", Json::array()}};
  std::vector<RowsPair> rows;
  for (const auto& [run_a, run_b] : point.seeds) {
    const std::string key_a = run_a == nullptr ? "" : run_a->at("run_key").get<std::string>();
    const std::string key_b = run_b == nullptr ? "" : run_b->at("run_key").get<std::string>();
    out["runs"].push_back(
        {run_a == nullptr ? Json() : Json(key_a), run_b == nullptr ? Json() : Json(key_b)});
    rows.push_back({.a = key_a.empty() ? Json::array() : RowsOf(a, key_a),
                    .b = key_b.empty() ? Json::array() : RowsOf(b, key_b)});
    if (run_a == nullptr || run_b == nullptr || key_a == key_b) continue;
    if (out.at("keys").empty()) {
      out["keys"] = DifferencesJson(DifferencesOf(run_a->at("run"), run_b->at("run")));
    }
    ASSIGN_OR_RETURN(const Json info_a, client.Call("GetRun", {{"run", key_a}}));
    ASSIGN_OR_RETURN(const Json info_b, client.Call("GetRun", {{"run", key_b}}));
    const Json provenance =
        DifferencesJson(DifferencesOf(RecordsOf(info_a.at("run")), RecordsOf(info_b.at("run"))));
    if (out.at("provenance").empty()) out["provenance"] = provenance;
    ASSIGN_OR_RETURN(const Json series_a,
                     client.Call("GetSeries", {{"run", key_a}, {"metric", curve}}));
    ASSIGN_OR_RETURN(const Json series_b,
                     client.Call("GetSeries", {{"run", key_b}, {"metric", curve}}));
    const auto largest = CompareCurves(series_a, series_b);
    if (!largest || largest->a == largest->b) continue;
    out["curves"].push_back({{"metric", curve},
                             {"runs", {key_a, key_b}},
                             {"steps_in_common", largest->n_steps},
                             {"step", largest->step},
                             {"a", largest->a},
                             {"b", largest->b},
                             {"difference", largest->b - largest->a}});
  }
  for (const ResultDifference& one : CompareRows(rows)) {
    if (!IsEqual(one)) out["results"].push_back(ResultJson(one));
  }
  return out;
}

bool Differs(const Json& point) {
  for (const char* part : {"keys", "provenance", "results", "curves"}) {
    if (!point.at(part).empty()) return true;
  }
  for (const Json& pair : point.at("runs")) {
    if (pair[0].is_null() || pair[1].is_null()) return true;
  }
  return false;
}

std::string Short(const Json& value, int digits) {
  if (!value.is_number()) return "–";
  char text[64];
  std::snprintf(text, sizeof text, "%.*g", digits, value.get<double>());
  return text;
}

std::string Indented(const std::string& text) {
  std::string out;
  for (const std::string& line : Split(text, '\n')) {
    if (!line.empty()) out += "  " + line + "\n";
  }
  return out;
}

std::string KeysText(const std::string& title, const Json& differences) {
  if (differences.empty()) return "";
  std::vector<std::vector<std::string>> rows;
  rows.reserve(differences.size());
  for (const Json& one : differences) {
    const auto text = [](const Json& value) { return value.is_null() ? "–" : AxisText(value); };
    rows.push_back({one.at("path").get<std::string>(), text(one.at("a")), text(one.at("b"))});
  }
  return Indented(
      RenderColumns({title, "a", "b"}, {Align::kLeft, Align::kLeft, Align::kLeft}, rows));
}

// "perplexity validation sliding_bos(stride=16) unigram".
std::string ResultName(const Json& result, bool whole) {
  std::vector<std::string> parts = {result.at("metric").get<std::string>()};
  if (!result.at("split").is_null()) parts.push_back(AxisText(result.at("split")));
  const std::string evaluation = EvaluationName(result.at("evaluation"), whole);
  if (!evaluation.empty()) {
    parts.push_back(evaluation);
  } else if (!result.at("protocol").is_null()) {
    parts.push_back(AxisText(result.at("protocol")));
  }
  if (!result.at("variant").is_null()) parts.push_back(AxisText(result.at("variant")));
  if (!result.at("depth").is_null()) parts.push_back("depth " + AxisText(result.at("depth")));
  return Join(parts, " ");
}

std::string ResultsText(const Json& results) {
  if (results.empty()) return "";
  // Show all parameters where evaluations could not be told apart otherwise.
  std::map<std::string, std::set<std::string>> alike;
  for (const Json& one : results) alike[ResultName(one, false)].insert(ResultName(one, true));
  std::vector<std::vector<std::string>> rows;
  rows.reserve(results.size());
  for (const Json& one : results) {
    const auto side = [&](const char* value, const char* status) {
      return one.at(value).is_number() ? Short(one.at(value), 6)
                                       : one.at(status).get<std::string>();
    };
    rows.push_back({ResultName(one, alike.at(ResultName(one, false)).size() > 1),
                    one.at("context_length").is_null() ? "" : AxisText(one.at("context_length")),
                    side("a", "status_a"), side("b", "status_b"), Short(one.at("difference"), 4),
                    Short(one.at("se"), 3), Short(one.at("z"), 3)});
  }
  return Indented(RenderColumns({"result", "length", "a", "b", "b - a", "±", "z"},
                                {Align::kLeft, Align::kRight, Align::kRight, Align::kRight,
                                 Align::kRight, Align::kRight, Align::kRight},
                                rows));
}

std::string PointText(const Json& point) {
  std::vector<std::string> axes;
  for (const auto& [axis, value] : point.at("axes").items()) {
    axes.push_back(Str(axis, "=", AxisText(value)));
  }
  std::string out;
  for (const Json& pair : point.at("runs")) {
    const auto name = [](const Json& run) {
      return run.is_null() ? std::string("–") : ShortId(run.get<std::string>());
    };
    StrAppend(out, Str("a ", name(pair[0]), "   b ", name(pair[1]), axes.empty() ? "" : "   ",
                       Join(axes, " "), "\n"));
  }
  out += KeysText("key", point.at("keys")) + KeysText("provenance", point.at("provenance")) +
         ResultsText(point.at("results"));
  for (const Json& curve : point.at("curves")) {
    StrAppend(
        out, Str("  ", AxisText(curve.at("metric")), ": at most ", Short(curve.at("difference"), 4),
                 " apart, at step ", curve.at("step").get<std::int64_t>(), " (",
                 Short(curve.at("a"), 6), ", ", Short(curve.at("b"), 6), "); ",
                 Counted(curve.at("steps_in_common").get<std::int64_t>(), "step"), " in common\n"));
  }
  return out;
}

// Whether the point has a complete pair and also a run without a partner.
bool HasHalfAPair(const Json& point) {
  const auto is_whole = [](const Json& pair) { return !pair[0].is_null() && !pair[1].is_null(); };
  const auto n_whole = std::ranges::count_if(point.at("runs"), is_whole);
  return n_whole > 0 && static_cast<std::size_t>(n_whole) < point.at("runs").size();
}

// Explains the ± errors: a difference has one only if every run of its point has a partner.
std::string ErrorsText(const Json& points) {
  std::set<std::size_t> n_pairs;
  for (const Json& point : points) {
    const bool has_error = std::ranges::any_of(
        point.at("results"), [](const Json& one) { return one.at("se").is_number(); });
    if (has_error) n_pairs.insert(point.at("runs").size());
  }
  if (n_pairs.empty()) {
    const bool lacks_one = std::ranges::any_of(points, &HasHalfAPair);
    return lacks_one ? "no b - a where only one side has a seed\n" : "";
  }
  const std::string one =
      "the error over the scored text, as if both sides were independent: an upper bound, since "
      "both read the same text; it says nothing about other seeds";
  const std::string several = "the error of the mean over the differences of the seeds";
  if (*n_pairs.rbegin() == 1) return Str("± of b - a (one pair of runs): ", one, "\n");
  if (*n_pairs.begin() > 1) {
    const std::string most =
        *n_pairs.begin() == *n_pairs.rbegin() ? "" : Str(" to ", *n_pairs.rbegin());
    return Str("± of b - a (", *n_pairs.begin(), most,
               " pairs of runs, each of one seed): ", several, "\n");
  }
  return Str("± of b - a, where runs of several seeds pair: ", several,
             "; where there is only one pair: ", one, "\n");
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
  Json points = Json::array();
  bool differs = false;
  const std::vector<Point> pairs = Pair(*a, *b);
  for (const Point& point : pairs) {
    Result<Json> diff = DiffPoint(client, point, *a, *b, arguments.curve);
    if (!diff.ok()) return Report(diff.status());
    if (!Differs(*diff)) continue;
    differs = true;
    points.push_back(*std::move(diff));
  }
  if (output == "json") {
    Print(RenderJson({{"a", a->name}, {"b", b->name}, {"differ", differs}, {"points", points}}));
  } else if (!differs) {
    Print("no differences\n");
  } else {
    std::string text;
    for (const Json& point : points)
      StrAppend(text, Str(text.empty() ? "" : "\n", PointText(point)));
    Print(text + ErrorsText(points));
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
  verb.AddArgument("B", arguments->b, "one of the same kind").Required();
  verb.AddArgument("--curve", arguments->curve, "the training curve to compare").ShowDefault();
  verb.AddFlag("--exit-code", arguments->exit_code, "1 if they differ");
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, arguments, output] { return Diff(*arguments, *output, verbs.state); });
}

}  // namespace longrun
