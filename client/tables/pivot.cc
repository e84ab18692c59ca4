#include "client/tables/pivot.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

#include "base/str.h"
#include "base/utf8.h"
#include "client/tables/by_position.h"
#include "client/tables/depth_text.h"
#include "client/tables/hidden_keys.h"
#include "client/tables/pivot_axes.h"
#include "client/tables/pivot_cell.h"
#include "client/tables/pivot_coordinates.h"
#include "client/tables/pivot_evaluations.h"
#include "client/tables/plain_window.h"
#include "client/words/joined.h"
#include "client/words/position_range.h"
#include "client/words/render.h"
#include "model/evaluation/evaluation.h"
#include "sweeps/evaluated_dataset.h"
#include "sweeps/evaluation_name.h"
#include "sweeps/extended.h"
#include "sweeps/window_baseline.h"

namespace longrun::client {
namespace {

// What an evaluation gives without a model, for each dataset (`baseline` of a sweep file).
constexpr std::string_view kBaseline = "unigram";

constexpr std::size_t kExtension = 6, kVariant = 7;  // in EvaluationAxes()

constexpr std::string_view kEvaluationAxis = "evaluation";

using Ranks = std::vector<std::size_t>;

// A number that a sweep wants: its row, if there is one yet.
struct Wanted {
  const RunRef* run = nullptr;
  const Coordinates* place = nullptr;
  const ResultRow* row = nullptr;
};

Json ValueOn(const std::string& axis, const RunRef& run, const Coordinates& place) {
  return IsEvaluationAxis(axis) ? place.At(axis) : RunValue(run, axis);
}

bool Contains(const std::vector<std::string>& list, std::string_view item) {
  return std::ranges::find(list, item) != list.end();
}

// Without the value at a dotted path, which need not be there.
Json Without(Json object, const std::string& path) {
  Json* at = &object;
  const std::vector<std::string> parts = Split(path, '.');
  for (std::size_t i = 0; at->is_object(); ++i) {
    const auto found = at->find(parts[i]);
    if (found == at->end()) break;
    if (i + 1 == parts.size()) {
      at->erase(found);
      break;
    }
    at = &*found;
  }
  return object;
}

class Pivot {
 public:
  Pivot(const std::vector<SweepResults>& results, const PivotRequest& request)
      : results_(results), request_(request) {}

  Result<std::vector<PivotTable>> Build() {
    CollectRuns();
    RETURN_IF_ERROR(ChooseMetrics());
    RETURN_IF_ERROR(ChooseAxes());
    CollectRows();
    RETURN_IF_ERROR(Filter());
    ChooseExtensionAxis();
    RETURN_IF_ERROR(CollectReferences());
    CollectWindows();
    OrderPages();
    NoteHiddenKeys();
    NoteUnknownAncestors();
    for (auto& [ranks, page] : pages_) {
      ASSIGN_OR_RETURN(PivotTable table, BuildTable(ranks, page));
      tables_.push_back(std::move(table));
    }
    CorrectForNumber();
    MarkLikeWindow();
    return std::move(tables_);
  }

 private:
  using Line = std::map<Ranks, std::vector<Wanted>>;  // columns -> seeds
  struct Page {
    std::map<Ranks, Line> lines;
    std::set<Ranks> columns;
    std::map<std::pair<std::string, std::string>, Line> baselines;  // name and dataset
  };

  void CollectRuns() {
    runs_ = RunRefsOf(results_);  // pointers into it stay
    axes_ = MatrixAxes(results_, runs_);
    std::size_t next = 0;
    for (std::size_t s = 0; s < results_.size(); ++s) {
      for (const ResultRun& run : results_[s].runs) {
        const RunRef& ref = runs_[next++];
        run_of_[{s, ref.run_key()}] = &ref;
        const auto base = run.resolved.value("/init/run"_json_pointer, std::string());
        const auto found = run_of_.find({s, base});
        if (found != run_of_.end()) base_of_[&ref] = found->second;
      }
    }
  }

  // The error for `--metric passkey`.
  Status NotAMetric(const std::string& evaluation) const {
    std::set<std::string> sources;
    for (const SweepResults& results : results_) {
      for (const ResultRow& row : results.rows) {
        if (row.evaluation.contains(evaluation)) {
          AddSources(row.body.metric, row.body.protocol, sources);
        }
      }
    }
    std::vector<std::string> names;
    for (const ResultMetric& metric : MetricsOf(sources)) names.push_back(metric.name);
    return {Code::kInvalidArgument,
            Str("--metric ", evaluation, ": this is an evaluation, not a metric; ",
                names.empty() ? "the results have no numbers of it"
                              : Str("give --metric with one of its metrics: ", Join(names, ", ")))};
  }

  Status ChooseMetrics() {
    const std::vector<ResultMetric> all = MetricsOf(SourcesOf(results_));
    if (request_.metrics.empty()) {
      const bool has_nll = !all.empty() && all.front().is_nll();
      metrics_.assign(all.begin(), has_nll ? all.begin() + 1 : all.end());
      return {};
    }
    std::vector<std::string> names;
    names.reserve(all.size());
    for (const ResultMetric& metric : all) names.push_back(metric.name);
    metrics_.reserve(request_.metrics.size());
    for (const std::string& name : request_.metrics) {
      const auto found = std::ranges::find(all, name, &ResultMetric::name);
      if (found == all.end()) {
        if (FindEvaluation(name).ok()) return NotAMetric(name);
        return {Code::kInvalidArgument,
                Str("the results have no metric ", Quoted(name),
                    "; their metrics: ", names.empty() ? "none" : Join(names, ", "),
                    name.ends_with("_by_position")
                        ? "; a perplexity with protocol: per_position measures it"
                        : "")};
      }
      metrics_.push_back(*found);
    }
    return {};
  }

  Status ChooseAxes() {
    const auto resolve = [&](const std::vector<std::string>& names,
                             std::vector<std::string>& axes) -> Status {
      for (const std::string& name : names) {
        ASSIGN_OR_RETURN(std::string axis, ResolveAxis(name, axes_, runs_));
        if (Contains(row_axes_, axis) || Contains(col_axes_, axis)) {
          return {Code::kInvalidArgument, Str("the axis \"", name, "\" is named twice")};
        }
        axes.push_back(std::move(axis));
      }
      return {};
    };
    RETURN_IF_ERROR(resolve(request_.rows, row_axes_));
    RETURN_IF_ERROR(resolve(request_.cols, col_axes_));
    for (const PivotFilter& filter : request_.where) {
      ASSIGN_OR_RETURN(std::string axis, ResolveAxis(filter.axis, axes_, runs_));
      names_evaluations_ = names_evaluations_ || axis == kEvaluationAxis;
      where_.push_back({.axis = std::move(axis), .values = filter.values, .whole = filter.whole});
    }
    if (request_.against) {
      ASSIGN_OR_RETURN(against_.axis, ResolveAxis(request_.against->axis, axes_, runs_));
      against_.values = request_.against->values;
      names_evaluations_ =
          names_evaluations_ || against_.axis == kEvaluationAxis || against_.axis == "protocol";
      const char* const why =
          against_.axis == "seed" ? "seeds are averaged, so there is no single one to compare with"
          : against_.axis == "metric" ? "numbers of different metrics cannot be compared"
          : against_.axis == "dataset"
              ? "numbers of different datasets cannot be compared, since their texts differ"
              : nullptr;
      if (why != nullptr) {
        return {Code::kInvalidArgument, Str("--against ", against_.axis, ": ", why,
                                            "; choose another axis, such as position or protocol")};
      }
    }
    baselines_apart_ = !Named("variant");
    FillAxes();
    return {};
  }

  // What was not said: the matrix down, the context length across.
  void FillAxes() {
    const bool rows_given = !row_axes_.empty();
    const bool by_position = !metrics_.empty() && metrics_.front().is_by_position();
    const std::string across(by_position ? kPositionAxis : "context_length");
    if (col_axes_.empty() && !Contains(row_axes_, across)) col_axes_ = {across};
    std::vector<std::string> left;
    for (const std::string& axis : axes_) {
      if (axis != "seed" && !Contains(row_axes_, axis) && !Contains(col_axes_, axis)) {
        left.push_back(axis);
      }
    }
    if (!rows_given) row_axes_ = left;
    if (!rows_given && !Contains(col_axes_, across)) row_axes_.push_back(across);
    if (col_axes_.empty()) col_axes_ = left;
  }

  bool Named(std::string_view axis) const {
    return Contains(row_axes_, axis) || Contains(col_axes_, axis) ||
           std::ranges::find(where_, axis, &PivotFilter::axis) != where_.end();
  }

  // What rows of one averaging share: the sweep, the metric, and over which text: split, protocol.
  using AveragingKey =
      std::tuple<std::size_t, std::string, std::optional<std::string>, std::optional<std::string>>;
  static AveragingKey AveragingKeyOf(std::size_t s, const RowBody& body) {
    return {s, body.metric, body.split, body.protocol};
  }

  void NoteAveraging(std::size_t s, const RowBody& body) {
    if (!body.averaging) return;
    // Mostly the same as of the row before.
    if (last_averaged_ != nullptr && last_averaged_of_ == s &&
        last_averaged_->metric == body.metric && last_averaged_->split == body.split &&
        last_averaged_->protocol == body.protocol && last_averaged_->averaging == body.averaging) {
      return;
    }
    averaging_[AveragingKeyOf(s, body)] = body.averaging;
    last_averaged_ = &body;
    last_averaged_of_ = s;
  }

  // Of a row of sweep s; null if the sweep does not show it. Mostly that of the row before.
  const RunRef* RunOf(std::size_t s, const ResultRow& row) {
    const bool is_as_before =
        last_run_of_ == s && last_run_ != nullptr && last_run_->run_key() == row.run_key;
    if (is_as_before) return last_run_;
    const auto run = run_of_.find({s, row.run_key});
    last_run_ = run == run_of_.end() ? nullptr : run->second;
    last_run_of_ = s;
    return last_run_;
  }

  void CollectRows() {
    const bool has_depths = std::ranges::any_of(results_, [](const SweepResults& results) {
      return std::ranges::any_of(results.rows,
                                 [](const ResultRow& row) { return row.body.depth.has_value(); });
    });
    for (std::size_t s = 0; s < results_.size(); ++s) {
      for (const ResultRow& row : results_[s].rows) {
        // Rows of other metrics say only which datasets, depths and extensions there are.
        const bool is_shown =
            std::ranges::find(metrics_, row.body.metric, &ResultMetric::source) != metrics_.end();
        if (is_shown) NoteAveraging(s, row.body);
        const RunRef* const run = RunOf(s, row);
        if (run == nullptr) continue;
        if (has_depths && !row.body.depth) {
          over_all_depths_.emplace(row.run_key, row.cell, row.body.metric);
        }
        NoteEvaluatedDataset(*run, row);
        if (is_shown) evaluations_.Add(row, TextName(*run, row));
        if (ExtensionOf(row.evaluation).is_null()) continue;
        has_extensions_ = true;
        shows_extensions_ = shows_extensions_ || is_shown;
      }
    }
    for (std::size_t s = 0; s < results_.size(); ++s) {
      for (const ResultRow& row : results_[s].rows) {
        const RunRef* const run = RunOf(s, row);
        if (run == nullptr) continue;
        if (IsLeftOutDepth(row)) {
          leaves_out_depths_ = true;
          continue;
        }
        for (const ResultMetric& metric : metrics_) {
          if (metric.source == row.body.metric) CollectRow(s, *run, metric, row);
        }
      }
    }
    if (std::ranges::any_of(places_,
                            [](const auto& entry) {
                              return entry.second->At("variant").is_string() &&
                                     entry.second->At("variant") != kBaseline;
                            }) &&
        !Named("variant") && request_.rows.empty()) {
      row_axes_.emplace_back("variant");
    }
    depth_texts_ = DepthTexts(ValuesOn("depth"));
    // Depths that are compared with one of them are rows of one table.
    const bool is_placed = Contains(row_axes_, "depth") || Contains(col_axes_, "depth");
    if (against_.axis == "depth" && !is_placed && request_.rows.empty()) {
      row_axes_.emplace_back("depth");
    }
  }

  // Extensions are rows of one table, so that they can be compared, unless the user placed them or
  // chose a single one.
  void ChooseExtensionAxis() {
    if (!has_extensions_) return;
    constexpr const char* kAxis = "extension";
    std::vector<Json> shown;
    for (const Wanted& wanted : wanted_) {
      if (IsApart(wanted)) continue;
      Json value = ValueOn(kAxis, *wanted.run, *wanted.place);
      if (std::ranges::find(shown, value) == shown.end()) shown.push_back(std::move(value));
    }
    if (!shown.empty()) {
      extension_of_baselines_ = *std::ranges::min_element(shown, IsExtensionBefore);
    }
    const bool is_placed = Contains(row_axes_, kAxis) || Contains(col_axes_, kAxis);
    const bool is_filtered = std::ranges::find(where_, kAxis, &PivotFilter::axis) != where_.end();
    const std::size_t n_values = is_filtered ? shown.size() : ValuesOn(kAxis).size();
    if (n_values > 1 && !is_placed && request_.rows.empty()) row_axes_.emplace_back(kAxis);
  }

  bool IsLeftOutDepth(const ResultRow& row) const {
    return request_.over_all_depths && row.body.depth && !Named("depth") &&
           against_.axis != "depth" &&
           over_all_depths_.contains({row.run_key, row.cell, row.body.metric});
  }

  void CollectRow(std::size_t s, const RunRef& run, const ResultMetric& metric,
                  const ResultRow& row) {
    const RowBody& body = row.body;
    if (has_evaluated_datasets_) texts_of_.emplace(&run, TextName(run, row));
    const Json& evaluation = evaluations_.TextOf(row, TextName(run, row));
    // Which averaging a row has that is not there yet, its fellows say. What is no mean over tokens
    // is not told apart by it: its variant says how it was taken.
    std::optional<std::string> averaging = metric.is_nll() ? body.averaging : std::nullopt;
    if (!averaging && metric.is_nll()) averaging = averaging_[AveragingKeyOf(s, body)];
    // On EvaluationAxes().
    Json values =
        Json::array({metric.name, EvaluatedDatasetValue(run, row), AxisValue(body.split),
                     ProtocolOf(metric, row), evaluation, AxisValue(averaging),
                     ExtensionValue(run, row), AxisValue(body.variant), AxisValue(body.depth),
                     AxisValue(body.tokens_of_context), AxisValue(body.context_length)});
    std::string key = CanonicalJson(values);
    auto& shared = place_of_[key];
    if (shared == nullptr) {
      shared = std::make_shared<Coordinates>(
          Coordinates{.metric = &metric,
                      .values = std::move(values.get_ref<Json::array_t&>()),
                      .key = std::move(key)});
    }
    rows_[{&run, shared.get()}] = &row;
    if (has_extensions_) extensions_[&run].insert(AxisText(shared->At("extension")));
    if (names_evaluations_) {
      const std::string short_name = EvaluationName(Plain(row.evaluation), /*whole=*/false);
      titles_[shared.get()].insert({short_name, TitleOfEvaluation(short_name, evaluation)});
    }
    if (in_sweep_.emplace(s, shared.get()).second) places_.emplace_back(s, shared);
  }

  // Questions without protocols, such as those of `needle`, stand under the name of their
  // evaluation, beside the protocols of others.
  static Json ProtocolOf(const ResultMetric& metric, const ResultRow& row) {
    const bool has_name = row.evaluation.is_object() && !row.evaluation.empty();
    if (row.body.protocol || !metric.is_share() || !has_name) return AxisValue(row.body.protocol);
    return row.evaluation.begin().key();
  }

  // Without what has an axis of its own.
  static Json Plain(const Json& evaluation) {
    return WithoutEvaluatedDataset(WithoutExtension(evaluation));
  }

  // Of the dataset that an evaluation read.
  static std::string TextName(const RunRef& run, const ResultRow& row) {
    const std::optional<EvaluatedDataset> read = EvaluatedDatasetOf(row.evaluation);
    return read ? read->name : run.dataset();
  }

  void NoteEvaluatedDataset(const RunRef& run, const ResultRow& row) {
    const std::optional<EvaluatedDataset> read = EvaluatedDatasetOf(row.evaluation);
    if (!read || !texts_of_.emplace(&run, read->name).second) return;
    has_evaluated_datasets_ = true;
    const auto is_trained_on_it = [&read](const RunRef& other) {
      return other.dataset() == read->name;
    };
    names_own_datasets_ = names_own_datasets_ || std::ranges::any_of(runs_, is_trained_on_it);
  }

  Json EvaluatedDatasetValue(const RunRef& run, const ResultRow& row) const {
    if (!has_evaluated_datasets_) return Json();
    const std::optional<EvaluatedDataset> read = EvaluatedDatasetOf(row.evaluation);
    if (read) return read->name;
    return names_own_datasets_ ? Json(run.dataset()) : Json();
  }

  // Whether the run was evaluated on the text of a place at all: not all runs need be.
  bool ReadsTextOf(const RunRef& run, const Coordinates& place) const {
    if (!has_evaluated_datasets_) return true;
    const Json& name = place.At(std::string(kEvaluatedDatasetAxis));
    return texts_of_.contains({&run, name.is_null() ? run.dataset() : name.get<std::string>()});
  }

  // Null in results without any extension, which need no such axis.
  Json ExtensionValue(const RunRef& run, const ResultRow& row) {
    if (!has_extensions_) return Json();
    const Json extension = ExtensionOf(row.evaluation);
    if (extension.is_null()) return ExtensionName(row.evaluation, run.train_length);
    Json& name = extension_names_[{CanonicalJson(extension), run.train_length}];
    if (name.is_null()) name = ExtensionName(row.evaluation, run.train_length);
    return name;
  }

  bool Keeps(const RunRef& run, const Coordinates& place) const {
    const bool is_baseline = baselines_apart_ && place.At("variant") == kBaseline;
    return std::ranges::all_of(where_, [&](const PivotFilter& filter) {
      // A baseline is that of the models, however they are read.
      if (is_baseline && filter.axis == "extension") return true;
      return filter.Matches(ValueOn(filter.axis, run, place)) || HasTitle(filter, place);
    });
  }

  // Whether one of the filter's values is what the title of a table says of the evaluation.
  bool HasTitle(const PivotFilter& filter, const Coordinates& place) const {
    if (filter.axis != kEvaluationAxis) return false;
    const auto titles = titles_.find(&place);
    return titles != titles_.end() &&
           std::ranges::any_of(filter.values, [&](const std::string& text) {
             return titles->second.contains(text);
           });
  }

  // What the titles say of all evaluations.
  std::set<std::string> AllTitles() const {
    std::set<std::string> all;
    for (const auto& [place, titles] : titles_) all.insert(titles.begin(), titles.end());
    return all;
  }

  // The titles of evaluations say all that the values do.
  std::set<std::string> TitlesOn(const std::string& axis) const {
    return axis == kEvaluationAxis ? AllTitles() : std::set<std::string>();
  }

  // What stands on an axis anywhere, each value once.
  std::vector<Json> ValuesOn(const std::string& axis) const {
    std::vector<Json> values;
    const auto add = [&values](Json value) {
      if (std::ranges::find(values, value) == values.end()) values.push_back(std::move(value));
    };
    if (IsEvaluationAxis(axis)) {
      for (const auto& [s, place] : places_) add(place->At(axis));
    } else {
      for (const RunRef& run : runs_) add(RunValue(run, axis));
    }
    return values;
  }

  // `any_extension`: for models that read as trained, or under any extension.
  std::vector<Json> ReferencePlace(const Coordinates& place, bool any_extension = false) const {
    std::vector<Json> key;
    const bool any_protocol = against_.axis == "protocol" || against_.axis == "evaluation";
    for (const std::string& axis : EvaluationAxes()) {
      const bool is_of_protocol = axis == "protocol" || axis == "evaluation" || axis == "averaging";
      const bool is_free = axis == against_.axis || (any_protocol && is_of_protocol) ||
                           (any_extension && axis == "extension");
      key.push_back(is_free ? Json() : place.At(axis));
    }
    return key;
  }

  // The run's value on an axis, without the key of it that `against` names: against
  // position.base=10000, rope and rope(base=500) are equal.
  // Of the runs from which runs start, only what is not the run's own counts.
  Json ValueWithoutAgainst(const RunRef& run, const std::string& axis) const {
    if (const AncestorLink* const link = FindAncestorLink(axis);
        link != nullptr && run.starts_from.contains(link->path)) {
      return WithoutDerivedKeys(*run.run).at(link->at);
    }
    if (!against_.axis.starts_with(Str(axis, "."))) return RunValue(run, axis);
    const auto resolved = run.run->resolved.find(axis);
    if (resolved == run.run->resolved.end()) return RunValue(run, axis);
    return Without(*resolved, against_.axis.substr(axis.size() + 1));
  }

  // What a number and the one that it is compared with have in common. Within a sweep it is the
  // other axes: keys that follow from them may differ.
  std::string ReferenceKey(const RunRef& run, const Coordinates& place) const {
    std::vector<Json> key = ReferencePlace(place);
    for (const std::string& axis : axes_) {
      if (axis != "seed" && axis != against_.axis) key.push_back(ValueWithoutAgainst(run, axis));
    }
    key.emplace_back(run.dataset());
    if (against_.axis == "sweep") key.emplace_back(run.folded);
    return CanonicalJson(key);
  }

  // The same for a number of another sweep, whose axes need not say in what its runs differ.
  std::string ReferenceKeyElsewhere(const RunRef& run, const Coordinates& place) const {
    std::vector<Json> key = ReferencePlace(place);
    key.push_back(Without(WithoutDerivedKeys(*run.run), PathOfAxis(against_.axis)));
    return CanonicalJson(key);
  }

  bool MayBeElsewhere() const { return results_.size() > 1 && against_.axis != "sweep"; }

  // All numbers have the value of `against`, so each would be compared with itself.
  Status NothingElse() const {
    std::string message = Str("--against ", against_.axis, "=", against_.whole,
                              ": all results have this value, so there is nothing to compare with");
    std::vector<std::string> axes = axes_;
    axes.insert(axes.end(), EvaluationAxes().begin(), EvaluationAxes().end());
    std::vector<std::string> varied;
    for (const std::string& axis : axes) {
      const bool is_comparable = axis != "seed" && axis != "metric" && axis != "dataset";
      if (is_comparable && ValuesOn(axis).size() > 1) varied.push_back(ShortAxis(axis));
    }
    if (!varied.empty()) message += Str("; the axes with several values are ", Join(varied, ", "));
    // "precision" is a key of a run and of an evaluation.
    const std::string param = Str(ShortAxis(against_.axis), "=");
    const std::vector<std::string> evaluations = NamesOf(ValuesOn(std::string(kEvaluationAxis)));
    if (std::ranges::any_of(evaluations, [&](const std::string& name) {
          return name.find(param) != std::string::npos;
        })) {
      message +=
          Str("; for the ", ShortAxis(against_.axis),
              " of evaluations, use --against evaluation=, with one of ", JoinLabels(evaluations));
    }
    return {Code::kInvalidArgument, std::move(message)};
  }

  // The numbers with which others are compared, whatever the filters keep.
  Status CollectReferences() {
    if (!request_.against) return {};
    const std::vector<Json> there = ValuesOn(against_.axis);
    std::vector<std::string> matching;
    ReadShownDepths(against_);
    NoteExact(there, against_);
    for (const Json& value : there) {
      if (against_.Matches(value)) matching.push_back(NameOf(value));
    }
    if (there.empty()) return {};  // nothing was evaluated
    // As a title shows it, with the protocol.
    const bool is_title = matching.empty() && std::ranges::any_of(places_, [&](const auto& one) {
                            return HasTitle(against_, *one.second);
                          });
    if (is_title) matching = against_.values;
    const std::string& text = against_.values.front();
    if (matching.empty()) {
      return {Code::kInvalidArgument,
              Str("--against ", against_.axis, ": ",
                  NoValue(text, against_.axis, there, TitlesOn(against_.axis)))};
    }
    if (matching.size() > 1) {
      return {Code::kInvalidArgument,
              Str("--against ", against_.axis, ": ", Quoted(text), " matches several values, ",
                  JoinLabels(matching), ": write one of them in full")};
    }
    against_.whole = matching.front();
    // Of an evaluation's values, others may still be measured.
    const bool is_only_one = there.size() == 1 && !is_title && !IsEvaluationAxis(against_.axis);
    if (is_only_one) return NothingElse();
    for (std::size_t s = 0; s < results_.size(); ++s) {
      for (const ResultRun& one : results_[s].runs) {
        const RunRef& run = *run_of_.at({s, one.run_key});
        for (const auto& [of, place] : places_) {
          if (of != s) continue;
          const bool is_reference = is_title
                                        ? HasTitle(against_, *place)
                                        : against_.Matches(ValueOn(against_.axis, run, *place));
          if (!is_reference) continue;
          const auto row = rows_.find({&run, place.get()});
          if (row == rows_.end()) continue;
          const Wanted reference = {.run = &run, .place = place.get(), .row = row->second};
          references_[ReferenceKey(run, *place)].push_back(reference);
          if (MayBeElsewhere()) {
            references_elsewhere_[ReferenceKeyElsewhere(run, *place)].push_back(reference);
          }
          if (!IsEvaluationAxis(against_.axis)) {
            reference_runs_[CanonicalJson(ReferencePlace(*place))].insert(&run);
            reference_runs_of_any_extension_[CanonicalJson(ReferencePlace(*place, true))].insert(
                &run);
          }
        }
      }
    }
    return {};
  }

  // The numbers of models under a plain window, whatever the filters keep.
  void CollectWindows() {
    if (request_.relative || request_.against) return;
    for (const auto& [key, row] : rows_) {
      const auto& [run, place] = key;
      if (!place->metric->is_share() || !EvaluationWrites(row->evaluation)) continue;
      if (BaselineWindow(ExtensionOf(row->evaluation), run->train_length) == 0) continue;
      windows_[WindowKey(*run, *place)].push_back({.run = run, .place = place, .row = row});
    }
  }

  // The run whose plain window a run's numbers are compared with: the run itself, or the nearest
  // one from which it was trained if it has no such window because it was trained under an
  // extension (sweeps/window_baseline.h). Null if there is none of the same size over the same
  // text.
  const RunRef* FindWindowRun(const RunRef& run, const Coordinates& place) const {
    const bool is_own_text = place.At(std::string(kEvaluatedDatasetAxis)).is_null();
    const RunRef* of = &run;
    while (of->train_length == run.train_length &&
           (!is_own_text || of->dataset() == run.dataset())) {
      if (windows_.contains(WindowKey(*of, place))) return of;
      const bool has_own = of->run->resolved.value("/train/extend"_json_pointer, Json()).is_null();
      const auto base = base_of_.find(of);
      if (has_own || base == base_of_.end()) break;
      of = base->second;
    }
    return nullptr;
  }

  // What a number and that of the same model under a plain window have in common.
  static std::string WindowKey(const RunRef& run, const Coordinates& place) {
    std::vector<Json> key = place.values;
    key.at(kExtension) = nullptr;
    return Str(run.folded, CanonicalJson(key));
  }

  // Corrects the p-values of all tables of the answer for their number.
  void CorrectForNumber() {
    std::vector<PivotCell*> tested;
    std::vector<PValues> p;
    for (PivotTable& table : tables_) {
      for (PivotRow& row : table.rows) {
        for (PivotCell& cell : row.cells) {
          if (!cell.p || (table.relative && cell.at_train_length)) continue;
          tested.push_back(&cell);
          p.push_back(*cell.p);
        }
      }
    }
    const std::vector<double> corrected = client::CorrectForNumber(p);
    const auto n_differ =
        std::ranges::count_if(corrected, [](double one) { return one <= kTestLevel; });
    const std::size_t n_left = tested.size() - static_cast<std::size_t>(n_differ);
    for (std::size_t i = 0; i < tested.size(); ++i) {
      PivotCell& cell = *tested[i];
      cell.p_holm = corrected[i];
      if (request_.against && corrected[i] > kTestLevel) {
        cell.few_seeds = HiddenByFewSeeds(cell.estimate, cell.n_seeds_matched, n_left);
        if (cell.few_seeds) cell.few_seeds->n_differ = tested.size() - n_left;
      }
    }
  }

  // Marks the cells of all tables of the answer that are not separable from a plain window.
  void MarkLikeWindow() {
    std::vector<PivotCell*> tested;
    std::vector<PValues> p;
    for (PivotTable& table : tables_) {
      for (PivotRow& row : table.rows) {
        for (PivotCell& cell : row.cells) {
          if (!cell.p_window) continue;
          tested.push_back(&cell);
          p.push_back(*cell.p_window);
        }
      }
    }
    const std::vector<double> corrected = client::CorrectForNumber(p);
    for (std::size_t i = 0; i < tested.size(); ++i) {
      tested[i]->p_window_holm = corrected[i];
      tested[i]->is_like_window = corrected[i] > kTestLevel;
    }
  }

  // A depth may be written as a table shows it.
  void ReadShownDepths(PivotFilter& filter) const {
    if (filter.axis != "depth") return;
    for (std::string& value : filter.values) {
      for (const auto& [depth, text] : depth_texts_) {
        if (value == text) value = CanonicalJson(depth);
      }
    }
    if (filter.values.size() == 1) filter.whole = filter.values.front();
  }

  Status CheckWhere() {
    for (PivotFilter& filter : where_) {
      const std::vector<Json> there = ValuesOn(filter.axis);
      ReadShownDepths(filter);
      if (there.empty()) continue;  // nothing was evaluated
      RETURN_IF_ERROR(FitToValues(there, TitlesOn(filter.axis), filter));
    }
    return {};
  }

  // Every run of a sweep with every evaluation of the sweep, as far as the filters keep them.
  Status Filter() {
    RETURN_IF_ERROR(CheckWhere());
    for (std::size_t s = 0; s < results_.size(); ++s) {
      for (const ResultRun& one : results_[s].runs) {
        const RunRef& run = *run_of_.at({s, one.run_key});
        for (const auto& [of, place] : places_) {
          if (of != s || !Keeps(run, *place)) continue;
          const auto row = rows_.find({&run, place.get()});
          if (row == rows_.end() && !ReadsTextOf(run, *place)) continue;
          const bool apart = baselines_apart_ && place->At("variant") == kBaseline;
          const bool compares = request_.relative || request_.against.has_value();
          if (apart && (row == rows_.end() || compares)) continue;
          // What a sweep asks for has a row, even before it is measured. It asks for a plain window
          // only beyond a run's own train length.
          if (row == rows_.end() && IsPlainWindow(*place)) continue;
          if (row == rows_.end() && !IsReadUnder(run, *place)) continue;
          wanted_.push_back({.run = &run,
                             .place = place.get(),
                             .row = row == rows_.end() ? nullptr : row->second});
        }
      }
    }
    if (!wanted_.empty() || places_.empty()) return {};
    return NothingLeft();
  }

  // A stage may have extensions of its own. A run that has no rows yet may be read under any
  // extension of its sweep.
  bool IsReadUnder(const RunRef& run, const Coordinates& place) const {
    const auto known = extensions_.find(&run);
    return known == extensions_.end() || known->second.contains(AxisText(place.At("extension")));
  }

  static bool IsPlainWindow(const Coordinates& place) {
    return place.metric->is_share() && place.At("extension") == "window";
  }

  Status NothingLeft() const {
    std::vector<std::string> parts;
    for (const PivotFilter& filter : where_) {
      std::vector<std::string> values;
      for (const RunRef& run : runs_) {
        for (const auto& [s, place] : places_) {
          const std::string text = AxisText(ValueOn(filter.axis, run, *place));
          if (!Contains(values, text)) values.push_back(text);
        }
      }
      std::string part = Str(filter.axis, " has the values ", JoinLabels(values));
      if (!Contains(parts, part)) parts.push_back(std::move(part));
    }
    return {Code::kInvalidArgument,
            Str("no result fulfils all conditions of --where: ", Join(parts, "; "))};
  }

  bool IsApart(const Wanted& wanted) const {
    return baselines_apart_ && wanted.place->At("variant") == kBaseline;
  }

  std::vector<std::string> PageAxes() const {
    std::vector<std::string> axes;
    for (const std::string& axis : EvaluationAxes()) {
      if (!Contains(row_axes_, axis) && !Contains(col_axes_, axis)) axes.push_back(axis);
    }
    for (const std::string& axis : axes_) {
      const bool is_folded = axis == "seed" || axis == "sweep";
      if (!is_folded && !Contains(row_axes_, axis) && !Contains(col_axes_, axis)) {
        axes.push_back(axis);
      }
    }
    return axes;
  }

  Json ValueFor(const std::string& axis, const Wanted& wanted) const {
    // A baseline stands in the table of the models that it is the baseline of, however those were
    // read.
    const bool is_apart = IsApart(wanted);
    if (is_apart && axis == "variant") return nullptr;
    if (is_apart && axis == "extension" && Contains(PageAxes(), axis)) {
      return extension_of_baselines_;
    }
    return ValueOn(axis, *wanted.run, *wanted.place);
  }

  // What decides ValueFor() on an axis: the number's place, or its run.
  static const void* DecidedBy(const std::string& axis, const Wanted& wanted) {
    if (IsEvaluationAxis(axis)) return wanted.place;
    return wanted.run;
  }

  // An axis with its ranks of the places or runs that were met: comparing JSON takes longer.
  struct KnownRanks {
    const AxisOrder* order = nullptr;
    std::unordered_map<const void*, std::size_t> ranks = {};
  };
  static std::vector<KnownRanks> KnownRanksOf(const std::vector<AxisOrder>& orders) {
    std::vector<KnownRanks> known;
    known.reserve(orders.size());
    for (const AxisOrder& order : orders) known.push_back({.order = &order});
    return known;
  }

  Ranks RanksOf(std::vector<KnownRanks>& orders, const Wanted& wanted) const {
    Ranks ranks;
    ranks.reserve(orders.size());
    for (auto& [order, known] : orders) {
      const auto [at, is_new] = known.try_emplace(DecidedBy(order->axis(), wanted));
      if (is_new) at->second = order->RankOf(ValueFor(order->axis(), wanted));
      ranks.push_back(at->second);
    }
    return ranks;
  }

  std::vector<AxisOrder> OrdersOf(const std::vector<std::string>& axes) const {
    std::vector<AxisOrder> orders(axes.begin(), axes.end());
    for (AxisOrder& order : orders) {
      if (order.axis() == "metric") {
        for (const ResultMetric& metric : metrics_) order.Add(metric.name);
      }
      if (Contains(axes_, order.axis()) && !is_full_) {
        for (const Json& value : ValuesInOrder(runs_, axes_, order.axis())) order.Add(value);
      }
      std::unordered_set<const void*> met;
      for (const Wanted& wanted : wanted_) {
        if (!met.insert(DecidedBy(order.axis(), wanted)).second) continue;
        order.Add(ValueFor(order.axis(), wanted));
      }
      order.Sort();
    }
    return orders;
  }

  // Whether the matrix has all its points: then the first run with a value shows its place.
  bool IsFullProduct() const {
    std::size_t n_points = 1;
    for (const std::string& axis : axes_) {
      std::set<Json> values;
      for (const RunRef& run : runs_) values.insert(RunValue(run, axis));
      n_points *= values.size();
    }
    return n_points == runs_.size();
  }

  void OrderPages() {
    is_full_ = IsFullProduct();
    row_orders_ = OrdersOf(row_axes_);
    col_orders_ = OrdersOf(col_axes_);
    page_orders_ = OrdersOf(PageAxes());
    // A baseline has a row for each dataset: what it was measured at must stand across.
    const bool baselines_fit =
        std::ranges::all_of(
            col_axes_,
            [](const std::string& axis) { return IsEvaluationAxis(axis) || axis == "dataset"; }) &&
        std::ranges::none_of(row_axes_, [](const std::string& axis) {
          return IsEvaluationAxis(axis) && axis != "variant" && axis != "extension";
        });
    std::vector<KnownRanks> rows = KnownRanksOf(row_orders_), cols = KnownRanksOf(col_orders_),
                            pages = KnownRanksOf(page_orders_);
    for (const Wanted& wanted : wanted_) {
      const Ranks column = RanksOf(cols, wanted);
      Page& page = pages_[RanksOf(pages, wanted)];
      if (!IsApart(wanted)) {
        page.columns.insert(column);
        page.lines[RanksOf(rows, wanted)][column].push_back(wanted);
      } else if (baselines_fit) {
        // Every run of a dataset has it: the last that is measured.
        std::vector<Wanted>& one =
            page.baselines[{std::string(kBaseline), wanted.run->dataset()}][column];
        if (one.empty() || wanted.row->body.status == "ok") one = {wanted};
      } else {
        leaves_out_baselines_ = true;
      }
    }
    std::erase_if(pages_, [](const auto& entry) { return entry.second.lines.empty(); });
  }

  void NoteUnknownAncestors() {
    std::set<std::string> ids;
    for (const Wanted& wanted : wanted_) {
      for (const std::string& key : wanted.run->run->ancestry.unknown) ids.insert(ShortId(key));
    }
    if (ids.size() > 1) unknown_ancestors_ = std::move(ids);
  }

  void NoteHiddenKeys() {
    if (results_.size() < 2) return;  // the axes of one sweep say in what its runs differ
    std::set<const RunRef*> shown;
    for (const Wanted& wanted : wanted_) shown.insert(wanted.run);
    std::vector<std::string> named = axes_;
    named.insert(named.end(), row_axes_.begin(), row_axes_.end());
    named.insert(named.end(), col_axes_.begin(), col_axes_.end());
    if (request_.against) named.push_back(against_.axis);
    std::vector<std::string> axes;
    for (const std::string& axis : named) {
      const bool is_of_run = axis != "sweep" && axis != "seed" && !IsEvaluationAxis(axis);
      if (is_of_run && !Contains(axes, axis)) axes.push_back(axis);
    }
    hidden_keys_ = HiddenKeys({shown.begin(), shown.end()}, axes);
  }

  Result<PivotTable> BuildTable(const Ranks& ranks, const Page& page) const {
    PivotTable table{.matrix_axes = axes_,
                     .relative = request_.relative,
                     .against = request_.against ? Str(against_.axis, "=", against_.whole) : "",
                     .hidden_keys = hidden_keys_,
                     .unknown_ancestors = unknown_ancestors_,
                     .depth_texts = depth_texts_,
                     .leaves_out_baselines = leaves_out_baselines_,
                     .leaves_out_depths = leaves_out_depths_,
                     .row_axes = row_axes_,
                     .col_axes = col_axes_};
    for (std::size_t i = 0; i < ranks.size(); ++i) {
      const std::string& axis = page_orders_[i].axis();
      const Json& value = page_orders_[i].value(ranks[i]);
      if (axis == "metric") {
        table.metrics = {
            *std::ranges::find(metrics_, value.get<std::string>(), &ResultMetric::name)};
      } else if (axis == "extension" && !shows_extensions_) {
        continue;  // "none", which goes without saying
      } else if (!value.is_null() && axis != "averaging") {
        table.fixed.emplace_back(axis, value);
      }
    }
    if (table.metrics.empty()) table.metrics = metrics_;
    for (const Ranks& column : page.columns) table.columns.push_back(Values(col_orders_, column));
    std::map<std::string, std::vector<std::pair<std::size_t, std::size_t>>> rivals;
    for (const auto& [row_ranks, line] : page.lines) {
      PivotRow row{.key = Values(row_orders_, row_ranks)};
      ASSIGN_OR_RETURN(row.cells, Cells(page, line));
      NoteRuns(line, row);
      for (std::size_t c = 0; const Ranks& column : page.columns) {
        if (const auto at = line.find(column); at != line.end()) {
          rivals[RivalKey(at->second.front())].emplace_back(table.rows.size(), c);
          RETURN_IF_ERROR(CompareWithWindow(at->second.front(), row.cells[c]));
        }
        ++c;
      }
      table.rows.push_back(std::move(row));
    }
    for (const auto& [key, cells] : rivals) MarkBest(cells, table);
    // A baseline is no model and not among those compared.
    table.best_of = Str(page.baselines.empty() ? "" : "model ", BestOf(page));
    table.protocol = ProtocolOf(page);
    for (const auto& [name, line] : page.baselines) {
      PivotRow row{.baseline = name.first, .dataset = name.second};
      for (const std::string& axis : row_axes_) {
        row.key.push_back(axis == "dataset" ? Json(name.second) : Json());
      }
      ASSIGN_OR_RETURN(row.cells, Cells(page, line));
      // No model, no train length.
      for (PivotCell& cell : row.cells) cell.at_train_length = false;
      table.rows.push_back(std::move(row));
    }
    NoteErrors(table);
    return table;
  }

  static void NoteErrors(PivotTable& table) {
    std::set<ErrorSource> sources;
    for (const PivotRow& row : table.rows) {
      for (const PivotCell& cell : row.cells) {
        if (cell.se) sources.insert(cell.error.source);
        const bool has_two = cell.estimate.seeds.se && cell.estimate.text.se;
        table.has_two_errors = table.has_two_errors || has_two;
      }
    }
    table.errors_are_mixed = sources.size() > 1;
  }

  // Of all that the page shows; "" where there are several.
  static std::string ProtocolOf(const Page& page) {
    std::set<std::string> names;
    const Json* last = nullptr;  // mostly all are the same
    for (const auto& [ranks, line] : page.lines) {
      for (const auto& [column, seeds] : line) {
        for (const Wanted& wanted : seeds) {
          if (wanted.row == nullptr) continue;
          if (last != nullptr && *last == wanted.row->evaluation) continue;
          last = &wanted.row->evaluation;
          names.insert(EvaluationName(Plain(wanted.row->evaluation), /*whole=*/false));
        }
      }
    }
    return names.size() == 1 ? *names.begin() : "";
  }

  static std::vector<Json> Values(const std::vector<AxisOrder>& orders, const Ranks& ranks) {
    std::vector<Json> values;
    values.reserve(ranks.size());
    for (std::size_t i = 0; i < ranks.size(); ++i) values.push_back(orders[i].value(ranks[i]));
    return values;
  }

  static void NoteRuns(const Line& line, PivotRow& row) {
    std::set<std::string> run_keys;
    std::set<Json> row_seeds;
    for (const auto& [column, seeds] : line) {
      for (const Wanted& wanted : seeds) {
        const std::string& run_key = wanted.run->run_key();
        if (!run_keys.insert(run_key).second) continue;
        row.run_keys.push_back(run_key);
        if (row_seeds.insert(wanted.run->seed).second) row.seeds.push_back(wanted.run->seed);
      }
    }
  }

  Result<std::vector<PivotCell>> Cells(const Page& page, const Line& line) const {
    std::vector<PivotCell> cells;
    cells.reserve(page.columns.size());
    for (const Ranks& column : page.columns) {
      const auto at = line.find(column);
      if (at == line.end()) {
        cells.emplace_back();
        continue;
      }
      ASSIGN_OR_RETURN(PivotCell cell, Cell(at->second));
      cells.push_back(std::move(cell));
    }
    return cells;
  }

  // What each seed has, and what it is relative to.
  Result<PivotCell> Cell(const std::vector<Wanted>& seeds) const {
    const Wanted& first = seeds.front();
    std::vector<SeedRow> rows;
    rows.reserve(seeds.size());
    for (const Wanted& wanted : seeds) {
      SeedRow seed{.run = wanted.run, .row = wanted.row};
      if (request_.relative) {
        const std::int64_t train_length = wanted.run->train_length;
        seed.is_reference = wanted.place->At("context_length") == train_length;
        const auto there = place_of_.find(wanted.place->KeyAt(train_length));
        const Coordinates* const place = there == place_of_.end() ? nullptr : there->second.get();
        const auto at = rows_.find({wanted.run, place});
        if (at != rows_.end()) seed.reference = at->second;
      }
      rows.push_back(seed);
    }
    ASSIGN_OR_RETURN(PivotCell cell,
                     FoldSeeds(*first.place->metric, rows, request_.relative, &row_axes_));
    if (request_.against) RETURN_IF_ERROR(CompareWithReference(first, cell));
    cell.train_length = first.run->train_length;
    const Json& range = first.place->At(std::string(kPositionAxis));
    cell.at_train_length = IsPositionRange(range)
                               ? Holds(range, cell.train_length)
                               : first.place->At("context_length") == cell.train_length;
    return cell;
  }

  const std::vector<Wanted>* FindReferences(const Wanted& first) const {
    const auto found = references_.find(ReferenceKey(*first.run, *first.place));
    if (found != references_.end()) return &found->second;
    if (!MayBeElsewhere()) return nullptr;
    const auto elsewhere =
        references_elsewhere_.find(ReferenceKeyElsewhere(*first.run, *first.place));
    return elsewhere == references_elsewhere_.end() ? nullptr : &elsewhere->second;
  }

  // The keys in which the run differs from the run most like it of those that have the value of
  // `against`; "extension" if none of those has the number under the same extension.
  std::vector<std::string> KeysOfNearest(const Wanted& first) const {
    constexpr std::size_t kRunsMax = 64;  // a footnote is not worth more time
    std::optional<std::vector<std::string>> nearest;
    auto runs = reference_runs_.find(CanonicalJson(ReferencePlace(*first.place)));
    const bool has_extension = runs != reference_runs_.end();
    if (!has_extension) {
      runs =
          reference_runs_of_any_extension_.find(CanonicalJson(ReferencePlace(*first.place, true)));
      if (runs == reference_runs_of_any_extension_.end()) return {};
    }
    for (std::size_t n = 0; const RunRef* run : runs->second) {
      if (n++ == kRunsMax) break;
      std::vector<std::string> keys =
          KeysThatDiffer(*run->run, *first.run->run, against_.axis == "sweep" ? "" : against_.axis);
      if (!nearest || keys.size() < nearest->size()) nearest = std::move(keys);
    }
    if (nearest && !has_extension) nearest->emplace_back("extension");
    if (nearest) std::ranges::sort(*nearest);
    return nearest.value_or(std::vector<std::string>());
  }

  static bool HasSeed(const PivotCell& cell, const Json& seed) {
    return std::ranges::find(cell.seeds, seed, &SeedValue::seed) != cell.seeds.end();
  }

  static std::string KeyOfEvaluation(const Coordinates& place) {
    return CanonicalJson({place.At("protocol"), place.At("evaluation"), place.At("averaging")});
  }

  // A name for the place's evaluation that --against takes: the title of a table that names this
  // evaluation only, or else its parameters.
  std::string NameOfEvaluation(const Coordinates& place) const {
    const std::string key = KeyOfEvaluation(place);
    const auto names_only_this = [&](const std::string& title) {
      return std::ranges::all_of(titles_, [&](const auto& one) {
        return !one.second.contains(title) || KeyOfEvaluation(*one.first) == key;
      });
    };
    const auto titles = titles_.find(&place);
    if (titles != titles_.end()) {
      const auto found = std::ranges::find_if(titles->second, names_only_this);
      if (found != titles->second.end()) return *found;
    }
    return AxisText(place.At("evaluation"));
  }

  // The references of one evaluation. Several may have the protocol, or the parameters, that
  // `against` names: then the cell's own, if it is among them.
  Result<std::vector<Wanted>> OfOneEvaluation(const Wanted& first,
                                              std::vector<Wanted> references) const {
    for (const std::string_view axis : {"evaluation", "protocol", "averaging"}) {
      const Json own = first.place->At(std::string(axis));
      const auto is_own = [&](const Wanted& one) {
        return one.place->At(std::string(axis)) == own;
      };
      if (axis != against_.axis && std::ranges::any_of(references, is_own)) {
        std::erase_if(references, std::not_fn(is_own));
      }
    }
    std::set<std::string> keys;
    for (const Wanted& one : references) keys.insert(KeyOfEvaluation(*one.place));
    if (keys.size() <= 1) return references;
    std::set<std::string> names;
    for (const Wanted& one : references) names.insert(NameOfEvaluation(*one.place));
    const std::vector<std::string> listed(names.begin(), names.end());
    return Status(Code::kInvalidArgument,
                  Str("--against ", against_.axis, "=", against_.whole,
                      " matches several evaluations (", JoinLabels(listed),
                      "): choose one, for example --against \"evaluation=", listed.front(), "\""));
  }

  Status CompareWithReference(const Wanted& first, PivotCell& cell) const {
    const std::vector<Wanted>* const found = FindReferences(first);
    if (found == nullptr) {
      SetAgainst(nullptr, cell);
      if (cell.status == kNoReference) cell.keys_that_differ = KeysOfNearest(first);
      return {};
    }
    ASSIGN_OR_RETURN(const std::vector<Wanted> references, OfOneEvaluation(first, *found));
    std::vector<SeedRow> rows;
    rows.reserve(references.size());
    for (const Wanted& wanted : references) {
      // One seed is compared with the same seed, not with the mean of all.
      if (Named("seed") && !HasSeed(cell, wanted.run->seed)) continue;
      rows.push_back({.run = wanted.run, .row = wanted.row});
    }
    if (rows.empty()) {
      SetAgainst(nullptr, cell);
      if (cell.status == kNoReference) cell.keys_that_differ = {"seed"};
      return {};
    }
    ASSIGN_OR_RETURN(const PivotCell reference,
                     FoldSeeds(*first.place->metric, rows, /*relative=*/false));
    SetAgainst(&reference, cell);
    return {};
  }

  Status CompareWithWindow(const Wanted& first, PivotCell& cell) const {
    const bool is_complete = cell.status == "ok" && cell.n_ok == cell.n_wanted;
    if (first.row == nullptr || !is_complete) return {};
    if (request_.relative || request_.against) return {};
    if (!first.place->metric->is_share() || !EvaluationWrites(first.row->evaluation)) return {};
    const std::int64_t tokens = first.run->train_length;
    const bool is_window = BaselineWindow(ExtensionOf(first.row->evaluation), tokens) > 0;
    if (is_window || first.place->At("context_length") <= tokens) return {};
    cell.lacks_window = true;
    const RunRef* const of = FindWindowRun(*first.run, *first.place);
    if (of == nullptr) return {};
    std::vector<SeedRow> rows;
    for (const Wanted& wanted : windows_.at(WindowKey(*of, *first.place))) {
      if (HasSeed(cell, wanted.run->seed)) rows.push_back({.run = wanted.run, .row = wanted.row});
    }
    if (rows.empty()) return {};
    ASSIGN_OR_RETURN(const PivotCell window,
                     FoldSeeds(*first.place->metric, rows, /*relative=*/false));
    if (window.status != "ok" || window.n_ok < cell.n_ok) return {};
    cell.p_window = DiffersFromWindow(window.readings, cell.readings);
    if (!cell.p_window) return {};
    cell.lacks_window = false;
    cell.window_tokens = tokens;
    cell.is_window_of_base = of != first.run;
    return {};
  }

  // Numbers that can be compared: of one metric, over the same text, at the same length, under any
  // extension.
  static std::string RivalKey(const Wanted& wanted) {
    std::vector<Json> key = wanted.place->values;
    key.at(kExtension) = nullptr;
    if (wanted.place->metric->variants_are_models()) key.at(kVariant) = nullptr;
    const bool is_own = wanted.place->At(std::string(kEvaluatedDatasetAxis)).is_null();
    key.emplace_back(is_own ? wanted.run->dataset() : "");
    return CanonicalJson(key);
  }

  // The cell with the best value, and those that are not separable from it.
  void MarkBest(const std::vector<std::pair<std::size_t, std::size_t>>& cells,
                PivotTable& table) const {
    if (cells.size() < 2 || request_.against) return;
    std::vector<PivotCell*> rivals;
    PivotCell* best = nullptr;
    for (const auto& [r, c] : cells) {
      PivotCell& cell = table.rows[r].cells[c];
      const ResultMetric::Better better = cell.metric.better;
      const bool complete = cell.status == "ok" && cell.n_ok == cell.n_wanted;
      if (better == ResultMetric::Better::kNeither || !complete || !std::isfinite(*cell.value))
        continue;
      if (table.relative && cell.at_train_length) continue;  // all are 1 there
      rivals.push_back(&cell);
      const double sign = better == ResultMetric::Better::kLower ? 1.0 : -1.0;
      if (best == nullptr || sign * *cell.value < sign * *best->value) best = &cell;
    }
    if (best == nullptr) return;
    std::vector<std::optional<double>> p(rivals.size());
    std::vector<PairedDifference> differences(rivals.size());
    for (std::size_t i = 0; i < rivals.size(); ++i) {
      if (rivals[i] == best) continue;
      differences[i] = Compare(best->readings, rivals[i]->readings);
      const auto test = differences[i].estimate.p();
      if (test) p[i] = rivals.size() == 2 ? test->p : test->cautious;  // as CorrectForNumber
    }
    // The same numbers chose the best, so all pairs count and not only those with it.
    const std::size_t n_pairs = rivals.size() * (rivals.size() - 1) / 2;
    p = Holm(p, n_pairs);
    const auto is_separate = [](const std::optional<double>& one) {
      return one && *one <= kTestLevel;
    };
    const auto n_left = n_pairs - static_cast<std::size_t>(std::ranges::count_if(p, is_separate));
    for (std::size_t i = 0; i < rivals.size(); ++i) {
      PivotCell& cell = *rivals[i];
      cell.p_best = p[i];
      cell.is_best = *cell.value == *best->value || (p[i] && *p[i] > kTestLevel);
      if (cell.is_best && p[i]) {
        cell.few_seeds =
            HiddenByFewSeeds(differences[i].estimate, differences[i].n_seeds_matched, n_left);
        if (cell.few_seeds) cell.few_seeds->n_differ = n_pairs - n_left;
      }
    }
  }

  // Among which cells the best is looked for, in words.
  std::string BestOf(const Page& page) const {
    std::set<Ranks> row_ranks;
    bool variants_compete = false;
    for (const auto& [ranks, line] : page.lines) {
      row_ranks.insert(ranks);
      variants_compete = line.begin()->second.front().place->metric->variants_are_models();
    }
    // The axes that vary: those whose values must be equal for numbers to be compared, or the
    // others, along which models are.
    const auto varying = [&](const std::vector<AxisOrder>& orders, const std::set<Ranks>& ranks,
                             bool of_models) {
      std::vector<std::string> axes;
      for (std::size_t i = 0; i < orders.size(); ++i) {
        const std::string& axis = orders[i].axis();
        const bool compares = (axis == "variant" && variants_compete) || axis == "extension" ||
                              (!IsEvaluationAxis(axis) && axis != "dataset");
        if (compares != of_models) continue;
        const bool varies = std::ranges::any_of(
            ranks, [&](const Ranks& other) { return other[i] != (*ranks.begin())[i]; });
        if (varies) axes.push_back(axis);
      }
      return axes;
    };
    std::vector<std::string> down = varying(row_orders_, row_ranks, false);
    const std::vector<std::string> across = varying(col_orders_, page.columns, false);
    const bool models_down = !varying(row_orders_, row_ranks, true).empty();
    const bool models_across = !varying(col_orders_, page.columns, true).empty();
    if (!models_across) {
      if (down.empty()) return "of the column";
      const bool is_apart = down.front() == "dataset" || down.front() == "variant";
      if (down.size() == 1 && is_apart) return Str("of the column for each ", down.front());
    }
    if (!models_down && across.empty()) return "of the row";
    down.insert(down.end(), across.begin(), across.end());
    if (down.empty()) return "of the table";
    return Str("at the same ", Join(down, ", "));
  }

  const std::vector<SweepResults>& results_;
  const PivotRequest& request_;
  std::vector<RunRef> runs_;
  std::map<std::pair<std::size_t, std::string>, const RunRef*> run_of_;  // sweep and run key
  std::map<const RunRef*, const RunRef*>
      base_of_;                    // of the same sweep: whose weights it starts from
  std::vector<std::string> axes_;  // of the matrices
  std::vector<ResultMetric> metrics_;
  std::vector<std::string> row_axes_, col_axes_;
  std::vector<PivotFilter> where_;
  PivotFilter against_ = {};
  std::vector<std::string> hidden_keys_;
  std::set<std::string> unknown_ancestors_;
  std::map<std::string, std::vector<Wanted>> references_;            // by ReferenceKey
  std::map<std::string, std::vector<Wanted>> references_elsewhere_;  // by ReferenceKeyElsewhere
  std::map<std::string, std::set<const RunRef*>> reference_runs_;    // by ReferencePlace
  std::map<std::string, std::set<const RunRef*>> reference_runs_of_any_extension_;
  std::map<std::string, std::vector<Wanted>> windows_;  // by WindowKey
  bool baselines_apart_ = true;
  // With a table for each extension, the baselines are in the first one.
  Json extension_of_baselines_ = nullptr;
  std::map<std::string, std::shared_ptr<Coordinates>> place_of_;
  std::vector<std::pair<std::size_t, std::shared_ptr<Coordinates>>> places_;  // of each sweep
  std::set<std::pair<std::size_t, const Coordinates*>> in_sweep_;
  Evaluations evaluations_;
  std::map<AveragingKey, std::optional<std::string>> averaging_;
  const RunRef* last_run_ = nullptr;  // the last run that RunOf() found, and its sweep
  std::size_t last_run_of_ = 0;
  const RowBody* last_averaged_ = nullptr;  // the last body that was noted there, and its sweep
  std::size_t last_averaged_of_ = 0;
  bool has_extensions_ = false;
  bool shows_extensions_ = false;  // of the metrics shown
  bool has_evaluated_datasets_ = false;
  bool names_own_datasets_ = false;                           // kEvaluatedDatasetAxis
  std::set<std::pair<const RunRef*, std::string>> texts_of_;  // datasets that each run was read on
  // By resolved extension and train length.
  std::map<std::pair<std::string, std::int64_t>, Json> extension_names_;
  // Of runs, cells and metrics: those with a row over all depths.
  std::set<std::tuple<std::string, std::string, std::string>> over_all_depths_;
  bool leaves_out_depths_ = false;
  bool leaves_out_baselines_ = false;
  std::map<double, std::string> depth_texts_;
  bool names_evaluations_ = false;                              // a filter does
  std::map<const Coordinates*, std::set<std::string>> titles_;  // of evaluations, if so
  std::map<std::pair<const RunRef*, const Coordinates*>, const ResultRow*> rows_;
  std::map<const RunRef*, std::set<std::string>> extensions_;  // with which a run has rows
  std::vector<Wanted> wanted_;
  bool is_full_ = true;  // the matrix
  std::vector<AxisOrder> row_orders_, col_orders_, page_orders_;
  std::map<Ranks, Page> pages_;
  std::vector<PivotTable> tables_;
};

// Only metrics by position have that axis.
Status RefusePositionAxis(const PivotRequest& request) {
  for (const auto* axes : {&request.rows, &request.cols}) {
    if (!Contains(*axes, kPositionAxis)) continue;
    return {Code::kInvalidArgument,
            Str("the axis ", kPositionAxis, " exists only for metrics by position: add --metric ",
                kNllByPosition)};
  }
  return {};
}

}  // namespace

Result<std::vector<PivotTable>> BuildPivot(const std::vector<SweepResults>& results,
                                           const PivotRequest& request) {
  const auto is_by_position = [](const ResultMetric& metric) { return metric.is_by_position(); };
  std::vector<ResultMetric> asked;
  for (const ResultMetric& metric : MetricsOf(SourcesOf(results))) {
    if (Contains(request.metrics, metric.name)) asked.push_back(metric);
  }
  if (std::ranges::none_of(asked, is_by_position)) {
    RETURN_IF_ERROR(RefusePositionAxis(request));
    return Pivot(results, request).Build();
  }
  if (!std::ranges::all_of(asked, is_by_position)) {
    return Status(
        Code::kInvalidArgument,
        Str("--metric ", Join(request.metrics, ","),
            ": metrics by position have columns of their own: use a separate command for them"));
  }
  if (request.relative) {
    return Status(Code::kInvalidArgument,
                  Str("--relative compares context lengths, and ", request.metrics.front(),
                      " shows the positions within one context length: leave --relative out"));
  }
  return Pivot(ByPosition(results, request.buckets_max), request).Build();
}

}  // namespace longrun::client
