#include "sweeps/claim_check.h"

#include <algorithm>
#include <cstdint>
#include <set>

#include "base/str.h"
#include "sweeps/metric_name.h"
#include "sweeps/value.h"
#include "sweeps/yaml_tree.h"

namespace longrun {
namespace {

// The value's first word: the name of a method, or the value itself.
std::string ShortName(const Json& shown) {
  const Json& name = shown.is_object() && shown.contains("method") ? shown.at("method") : shown;
  return name.is_string() ? name.get<std::string>() : CanonicalJson(name);
}

bool IsOfFile(const Place& place) { return place.source == 0; }

// The metrics of the rows that an evaluation measures, and of those within them.
std::vector<std::string> SourcesOf(const EvaluationSpec& spec) {
  std::vector<std::string> sources;
  for (const RowName& row : spec.evaluation->rows(spec.params)) sources.emplace_back(row.metric);
  const auto has_positions = spec.evaluation->has_positions;
  if (has_positions != nullptr && has_positions(spec.params)) {
    sources.emplace_back("nll_by_position");
  }
  return sources;
}

class ClaimChecker {
 public:
  ClaimChecker(const Claim& claim, const SweepSpec& spec) : params_(claim.params), spec_(spec) {}

  std::vector<ClaimProblem> Check() {
    CheckValues();
    CheckMetric();
    CheckLengths();
    return std::move(problems_);
  }

 private:
  void Report(const char* key, std::string message) {
    problems_.push_back({.key = key, .message = std::move(message)});
  }

  void CheckValues() {
    const auto name = params_.at("axis").get<std::string>();
    if (name == "dataset") {
      Report("axis",
             "numbers of different datasets cannot be compared, since their texts differ; choose "
             "another axis, such as position");
      return;
    }
    const auto axis = std::ranges::find_if(spec_.axes, [&](const Axis& one) {
      return one.name == name || one.name.ends_with("." + name);
    });
    const bool is_of_file =
        axis != spec_.axes.end() &&
        std::ranges::all_of(axis->values, [](const AxisValue& one) { return IsOfFile(one.place); });
    if (!is_of_file) return;
    std::vector<std::string> values;
    for (const AxisValue& value : axis->values) values.push_back(ShortName(value.shown));
    for (const char* const key : {"of", "than"}) {
      if (!params_.contains(key)) continue;
      for (const std::string& text : ValuesInList(params_.at(key).get<std::string>())) {
        const std::string meant = text.substr(0, text.find('('));
        if (std::ranges::find(values, meant) != values.end()) continue;
        // A number can be written in several ways.
        const Json number = Json::parse(meant, nullptr, /*allow_exceptions=*/false);
        const auto is_number = [&number](const AxisValue& value) {
          return number.is_number() && value.shown == number;
        };
        if (std::ranges::any_of(axis->values, is_number)) continue;
        Report(key, Str("\"", text, "\" is not a value of ", name, DidYouMean(meant, values)));
      }
    }
  }

  // Notes the evaluations that measure the claim's metric.
  void CheckMetric() {
    const auto metric = params_.at("metric").get<std::string>();
    std::vector<std::string> names;
    for (const EvaluationSpec& one : spec_.evaluations) {
      bool is_of_metric = false;
      for (const std::string& source : SourcesOf(one)) {
        for (std::string& name : MetricNames(source)) {
          is_of_metric = is_of_metric || name == metric;
          if (std::ranges::find(names, name) == names.end()) names.push_back(std::move(name));
        }
      }
      if (is_of_metric) evaluations_.push_back(&one);
    }
    if (!names.empty() && evaluations_.empty()) {
      Report("metric", Str("no evaluation of this sweep measures \"", metric, "\"",
                           DidYouMean(metric, names)));
    }
  }

  void CheckLengths() {
    std::set<std::int64_t> measured;
    for (const EvaluationSpec* const evaluation : evaluations_) {
      const auto lengths = evaluation->param_places.find("context_lengths");
      if (lengths != evaluation->param_places.end() && !IsOfFile(lengths->second)) return;
      for (const Json& length : evaluation->params.at("context_lengths")) {
        measured.insert(length.get<std::int64_t>());
      }
    }
    if (measured.empty()) return;
    const auto check = [&](const char* key, std::int64_t length) {
      if (measured.contains(length)) return;
      std::vector<std::string> lengths;
      for (const std::int64_t one : measured) lengths.push_back(Str(one));
      Report(key, Str("no evaluation of this sweep measures ",
                      params_.at("metric").get_ref<const std::string&>(), " at context length ",
                      length, "; it is measured at ", Join(lengths, ", ")));
    };
    for (const char* const key : {"from", "to"}) {
      if (params_.contains(key)) check(key, params_.at(key).get<std::int64_t>());
    }
    for (const char* const key : {"context_lengths", "than_context_lengths"}) {
      if (!params_.contains(key)) continue;
      for (const Json& length : params_.at(key)) check(key, length.get<std::int64_t>());
    }
  }

  const Json& params_;
  const SweepSpec& spec_;
  std::vector<const EvaluationSpec*> evaluations_ = {};
  std::vector<ClaimProblem> problems_ = {};
};

}  // namespace

std::vector<ClaimProblem> ProblemsOf(const Claim& claim, const SweepSpec& spec) {
  return ClaimChecker(claim, spec).Check();
}

}  // namespace longrun
