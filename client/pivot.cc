#include "client/pivot.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <numbers>
#include <set>

#include "base/str.h"
#include "client/pivot_axes.h"
#include "client/render.h"

namespace longrun {
namespace {

// What an evaluation gives without a model, for each dataset (`baseline` of a sweep file).
constexpr std::string_view kBaseline = "unigram";

// In EvaluationAxes().
constexpr std::size_t kEvaluation = 3;
constexpr std::size_t kAveraging = 4;
constexpr std::size_t kVariant = 5;

using Ranks = std::vector<std::size_t>;

// Where a number stands among evaluations: a value for each of EvaluationAxes().
struct Place {
  const Metric* metric = nullptr;
  std::vector<Json> values = {};
  std::string key = {};  // canonical `values`

  const Json& At(const std::string& axis) const {
    const auto& axes = EvaluationAxes();
    return values.at(static_cast<std::size_t>(std::ranges::find(axes, axis) - axes.begin()));
  }
  std::string KeyAt(std::int64_t context_length) const {
    std::vector<Json> elsewhere = values;
    elsewhere.back() = context_length;
    return CanonicalJson(elsewhere);
  }
};

// A number that a sweep wants: its row, if there is one yet.
struct Wanted {
  const RunRef* run = nullptr;
  const Place* place = nullptr;
  const Json* row = nullptr;
};

// The values of an axis, in the order in which they are shown.
class AxisOrder {
 public:
  explicit AxisOrder(std::string axis) : axis_(std::move(axis)) {}

  void Add(const Json& value) {
    if (std::ranges::find(values_, value) == values_.end()) values_.push_back(value);
  }
  // A sweep's values keep the order of its file; an evaluation's rise.
  void Sort() {
    if (IsEvaluationAxis(axis_) && axis_ != "metric") std::ranges::sort(values_);
  }
  std::size_t RankOf(const Json& value) const {
    return static_cast<std::size_t>(std::ranges::find(values_, value) - values_.begin());
  }
  const std::string& axis() const { return axis_; }
  const Json& value(std::size_t rank) const { return values_.at(rank); }

 private:
  std::string axis_;
  std::vector<Json> values_;
};

// What tells evaluations of one dataset, split and protocol from each other, as text: "stride=32".
// Numbers of two evaluations rest on different text or context, and never stand in one table unnamed.
// Of each dataset by itself: how much of a split is scored by default depends on its size.
class Evaluations {
 public:
  void Add(const Json& row, const std::string& dataset) {
    const Json params = ParamsOf(row);
    for (const auto& [key, value] : params.items()) {
      std::vector<Json>& values = values_[{GroupOf(row, dataset), key}];
      if (std::ranges::find(values, value) == values.end()) values.push_back(value);
    }
  }
  // Null where there is only one.
  Json TextOf(const Json& row, const std::string& dataset) const {
    std::vector<std::string> parts;
    const Json params = ParamsOf(row);
    for (const auto& [key, value] : params.items()) {
      if (values_.at({GroupOf(row, dataset), key}).size() > 1)
        parts.push_back(Str(key, "=", AxisText(value)));
    }
    return parts.empty() ? Json() : Json(Join(parts, ", "));
  }

 private:
  // Of the one evaluation that the row is of, without what has an axis of its own.
  static Json ParamsOf(const Json& row) {
    const auto found = row.find("evaluation");
    if (found == row.end() || !found->is_object() || found->empty()) return Json::object();
    Json params = found->begin().value();
    for (const char* key : {"split", "protocol", "baseline", "context_lengths"}) params.erase(key);
    return params;
  }
  static std::string GroupOf(const Json& row, const std::string& dataset) {
    const Json& body = row.at("body");
    return CanonicalJson(
        {dataset, body.at("metric"), body.value("split", Json()), body.value("protocol", Json())});
  }

  std::map<std::pair<std::string, std::string>, std::vector<Json>> values_;
};

Json ValueOn(const std::string& axis, const RunRef& run, const Place& place) {
  return IsEvaluationAxis(axis) ? place.At(axis) : RunValue(run, axis);
}

bool Contains(const std::vector<std::string>& list, std::string_view item) {
  return std::ranges::find(list, item) != list.end();
}

// How different runs that would fall into one cell differ.
Status RefuseToFold(const RunRef& a, const RunRef& b) {
  const Json difference = Json::diff(a.run->at("run"), b.run->at("run"));
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

class Pivot {
 public:
  Pivot(const std::vector<Json>& results, const PivotRequest& request)
      : results_(results), request_(request) {}

  Result<std::vector<PivotTable>> Build() {
    CollectRuns();
    RETURN_IF_ERROR(ChooseMetrics());
    RETURN_IF_ERROR(ChooseAxes());
    CollectRows();
    RETURN_IF_ERROR(Filter());
    OrderPages();
    for (auto& [ranks, page] : pages_) {
      ASSIGN_OR_RETURN(PivotTable table, BuildTable(ranks, page));
      tables_.push_back(std::move(table));
    }
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
    std::size_t n_runs = 0;
    for (const Json& result : results_) n_runs += result.at("runs").size();
    runs_.reserve(n_runs);  // pointers into it stay
    for (std::size_t s = 0; s < results_.size(); ++s) {
      const Json& result = results_[s];
      for (const Json& axis : result.at("axes")) {
        if (!Contains(axes_, axis.get<std::string>())) axes_.push_back(axis.get<std::string>());
      }
      const std::string sweep = result.value("name", Str("sweep ", s + 1));
      for (const Json& run : result.at("runs")) {
        runs_.push_back(MakeRunRef(sweep, run));
        run_of_[{s, runs_.back().run_key()}] = &runs_.back();
      }
    }
    if (results_.size() > 1) axes_.insert(axes_.begin(), "sweep");
  }

  Status ChooseMetrics() {
    std::set<std::string> sources;
    for (const Json& result : results_) {
      for (const Json& row : result.at("rows")) {
        sources.insert(row.at("body").at("metric").get<std::string>());
      }
    }
    const std::vector<Metric> all = MetricsOf(sources);
    if (request_.metrics.empty()) {
      if (!all.empty()) metrics_.push_back(all.front());
      return {};
    }
    std::vector<std::string> names;
    for (const Metric& metric : all) names.push_back(metric.name);
    metrics_.reserve(request_.metrics.size());
    for (const std::string& name : request_.metrics) {
      const auto found = std::ranges::find(all, name, &Metric::name);
      if (found == all.end()) {
        return {Code::kInvalidArgument,
                Str("there are no numbers of metric \"", name,
                    "\"; there are: ", names.empty() ? "none" : Join(names, ", "))};
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
      where_.push_back({.axis = std::move(axis), .values = filter.values});
    }
    baselines_apart_ = !Named("variant");
    FillAxes();
    return {};
  }

  // What was not said: the matrix down, the context length across.
  void FillAxes() {
    const bool rows_given = !row_axes_.empty();
    if (col_axes_.empty() && !Contains(row_axes_, "context_length")) {
      col_axes_ = {"context_length"};
    }
    std::vector<std::string> left;
    for (const std::string& axis : axes_) {
      if (axis != "seed" && !Contains(row_axes_, axis) && !Contains(col_axes_, axis)) {
        left.push_back(axis);
      }
    }
    if (!rows_given) row_axes_ = left;
    if (!rows_given && !Contains(col_axes_, "context_length")) {
      row_axes_.emplace_back("context_length");
    }
    if (col_axes_.empty()) col_axes_ = left;
  }

  bool Named(std::string_view axis) const {
    return Contains(row_axes_, axis) || Contains(col_axes_, axis) ||
           std::ranges::find(where_, axis, &PivotFilter::axis) != where_.end();
  }

  static std::string AveragingKey(std::size_t s, const Json& body) {
    return CanonicalJson(
        {s, body.at("metric"), body.value("split", Json()), body.value("protocol", Json())});
  }

  void CollectRows() {
    for (std::size_t s = 0; s < results_.size(); ++s) {
      for (const Json& row : results_[s].at("rows")) {
        const Json averaging = row.at("body").value("averaging", Json());
        if (!averaging.is_null()) averaging_[AveragingKey(s, row.at("body"))] = averaging;
        const auto run = run_of_.find({s, row.at("run_key").get<std::string>()});
        if (run != run_of_.end()) evaluations_.Add(row, run->second->dataset());
      }
    }
    for (std::size_t s = 0; s < results_.size(); ++s) {
      for (const Json& row : results_[s].at("rows")) {
        const auto run = run_of_.find({s, row.at("run_key").get<std::string>()});
        if (run == run_of_.end()) continue;  // of a run that the sweep does not show
        for (const Metric& metric : metrics_) {
          if (metric.source == row.at("body").at("metric"))
            CollectRow(s, *run->second, metric, row);
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
  }

  void CollectRow(std::size_t s, const RunRef& run, const Metric& metric, const Json& row) {
    const Json& body = row.at("body");
    Place place{.metric = &metric};
    for (const std::string& axis : EvaluationAxes()) {
      place.values.push_back(axis == "metric" ? Json(metric.name) : body.value(axis, Json()));
    }
    place.values.at(kEvaluation) = evaluations_.TextOf(row, run.dataset());
    // Which averaging a row has that is not there yet, its fellows say. What is no mean over tokens is
    // not told apart by it: its variant says how it was taken.
    Json& averaging = place.values.at(kAveraging);
    if (metric.source != "nll") averaging = Json();
    if (averaging.is_null() && metric.source == "nll")
      averaging = averaging_[AveragingKey(s, body)];
    place.key = CanonicalJson(place.values);
    rows_[{&run, place.key}] = &row;
    auto& shared = place_of_[place.key];
    if (shared == nullptr) shared = std::make_shared<Place>(std::move(place));
    if (in_sweep_.emplace(s, shared->key).second) places_.emplace_back(s, shared);
  }

  bool Keeps(const RunRef& run, const Place& place) const {
    return std::ranges::all_of(where_, [&](const PivotFilter& filter) {
      const Json value = ValueOn(filter.axis, run, place);
      return std::ranges::any_of(filter.values,
                                 [&](const std::string& text) { return IsWritten(value, text); });
    });
  }

  // Every run of a sweep with every evaluation of the sweep, as far as the filters keep them.
  Status Filter() {
    for (std::size_t s = 0; s < results_.size(); ++s) {
      for (const Json& run_json : results_[s].at("runs")) {
        const RunRef& run = *run_of_.at({s, run_json.at("run_key").get<std::string>()});
        for (const auto& [of, place] : places_) {
          if (of != s || !Keeps(run, *place)) continue;
          const auto row = rows_.find({&run, place->key});
          const bool apart = baselines_apart_ && place->At("variant") == kBaseline;
          if (apart && (row == rows_.end() || request_.relative)) continue;
          wanted_.push_back({.run = &run,
                             .place = place.get(),
                             .row = row == rows_.end() ? nullptr : row->second});
        }
      }
    }
    if (!wanted_.empty() || places_.empty()) return {};
    return NothingLeft();
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
      parts.push_back(Str(filter.axis, " has ", Join(values, ", ")));
    }
    return {Code::kInvalidArgument, Str("--where leaves nothing: ", Join(parts, "; "))};
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
    // A baseline stands in the table of the models that it is the baseline of.
    if (axis == "variant" && IsApart(wanted)) return nullptr;
    return ValueOn(axis, *wanted.run, *wanted.place);
  }

  Ranks RanksOf(const std::vector<AxisOrder>& orders, const Wanted& wanted) const {
    Ranks ranks;
    for (const AxisOrder& order : orders) {
      ranks.push_back(order.RankOf(ValueFor(order.axis(), wanted)));
    }
    return ranks;
  }

  std::vector<AxisOrder> OrdersOf(const std::vector<std::string>& axes) const {
    std::vector<AxisOrder> orders(axes.begin(), axes.end());
    for (AxisOrder& order : orders) {
      for (const Wanted& wanted : wanted_) order.Add(ValueFor(order.axis(), wanted));
      order.Sort();
    }
    return orders;
  }

  void OrderPages() {
    row_orders_ = OrdersOf(row_axes_);
    col_orders_ = OrdersOf(col_axes_);
    page_orders_ = OrdersOf(PageAxes());
    // A baseline has a row for each dataset: what it was measured at must stand across.
    const bool baselines_fit =
        std::ranges::all_of(
            col_axes_,
            [](const std::string& axis) { return IsEvaluationAxis(axis) || axis == "dataset"; }) &&
        std::ranges::none_of(row_axes_, [](const std::string& axis) {
          return IsEvaluationAxis(axis) && axis != "variant";
        });
    for (const Wanted& wanted : wanted_) {
      const Ranks column = RanksOf(col_orders_, wanted);
      Page& page = pages_[RanksOf(page_orders_, wanted)];
      if (!IsApart(wanted)) {
        page.columns.insert(column);
        page.lines[RanksOf(row_orders_, wanted)][column].push_back(wanted);
      } else if (baselines_fit) {
        // Every run of a dataset has it: the last that is measured.
        std::vector<Wanted>& one =
            page.baselines[{std::string(kBaseline), wanted.run->dataset()}][column];
        if (one.empty() || wanted.row->at("body").at("status") == "ok") one = {wanted};
      }
    }
    std::erase_if(pages_, [](const auto& entry) { return entry.second.lines.empty(); });
  }

  Result<PivotTable> BuildTable(const Ranks& ranks, const Page& page) const {
    PivotTable table{.relative = request_.relative, .row_axes = row_axes_, .col_axes = col_axes_};
    for (std::size_t i = 0; i < ranks.size(); ++i) {
      const std::string& axis = page_orders_[i].axis();
      const Json& value = page_orders_[i].value(ranks[i]);
      if (axis == "metric") {
        table.metrics = {value.get<std::string>()};
      } else if (!value.is_null() && axis != "averaging") {
        table.fixed.emplace_back(axis, value);
      }
    }
    if (table.metrics.empty()) {
      for (const Metric& metric : metrics_) table.metrics.push_back(metric.name);
    }
    for (const Ranks& column : page.columns) table.columns.push_back(Values(col_orders_, column));
    std::map<std::string, std::vector<std::pair<std::size_t, std::size_t>>> rivals;
    for (const auto& [row_ranks, line] : page.lines) {
      PivotRow row{.key = Values(row_orders_, row_ranks)};
      ASSIGN_OR_RETURN(row.cells, Cells(page, line));
      NoteRuns(line, row);
      for (std::size_t c = 0; const Ranks& column : page.columns) {
        if (const auto at = line.find(column); at != line.end()) {
          rivals[RivalKey(at->second.front())].emplace_back(table.rows.size(), c);
        }
        ++c;
      }
      table.rows.push_back(std::move(row));
    }
    for (const auto& [key, cells] : rivals) MarkBest(cells, table);
    table.best_of = BestOf(page);
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
    return table;
  }

  static std::vector<Json> Values(const std::vector<AxisOrder>& orders, const Ranks& ranks) {
    std::vector<Json> values;
    values.reserve(ranks.size());
    for (std::size_t i = 0; i < ranks.size(); ++i) values.push_back(orders[i].value(ranks[i]));
    return values;
  }

  static void NoteRuns(const Line& line, PivotRow& row) {
    for (const auto& [column, seeds] : line) {
      for (const Wanted& wanted : seeds) {
        const std::string run_key = wanted.run->run_key();
        if (Contains(row.run_keys, run_key)) continue;
        row.run_keys.push_back(run_key);
        if (std::ranges::find(row.seeds, wanted.run->seed) == row.seeds.end()) {
          row.seeds.push_back(wanted.run->seed);
        }
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
      ASSIGN_OR_RETURN(PivotCell cell, FoldSeeds(at->second));
      cells.push_back(std::move(cell));
    }
    return cells;
  }

  // The seed's number on the scale of the fold, or nothing, with the reason in `status`.
  std::optional<Reading> ReadSeed(const Wanted& wanted, std::string& status) const {
    const Metric& metric = *wanted.place->metric;
    const auto read = [&metric](const Json* row, std::string& reason) -> std::optional<Reading> {
      reason = row == nullptr ? "missing" : row->at("body").at("status").get<std::string>();
      if (reason != "ok") return std::nullopt;
      const std::optional<Reading> reading = metric.Read(row->at("body"));
      if (!reading) reason = "not_applicable";
      return reading;
    };
    const std::optional<Reading> reading = read(wanted.row, status);
    if (!reading || !request_.relative) return reading;
    const std::int64_t train_length = wanted.run->train_length;
    if (wanted.place->At("context_length") == train_length) {
      return Reading{.x = metric.is_log ? 0.0 : 1.0, .se = 0.0};
    }
    const auto at = rows_.find({wanted.run, wanted.place->KeyAt(train_length)});
    const std::optional<Reading> reference = read(at == rows_.end() ? nullptr : at->second, status);
    if (at == rows_.end()) status = "no_reference";
    if (!reference) return std::nullopt;
    return RelativeTo(metric, *reading, *reference);
  }

  Result<PivotCell> FoldSeeds(const std::vector<Wanted>& seeds) const {
    const Wanted& first = seeds.front();
    const Metric& metric = *first.place->metric;
    PivotCell cell{.status = "ok", .metric = metric};
    cell.at_train_length = first.place->At("context_length") == first.run->train_length;
    std::vector<Reading> readings;
    double nll_sum = 0.0;
    double bytes = 0.0;
    double nll = 0.0;
    std::set<std::string> run_keys;
    for (const Wanted& wanted : seeds) {
      if (!run_keys.insert(wanted.run->run_key()).second) continue;  // shown by two sweeps
      if (wanted.run->folded != first.run->folded) return RefuseToFold(*first.run, *wanted.run);
      SeedValue seed{.seed = wanted.run->seed, .run_key = wanted.run->run_key()};
      const std::optional<Reading> reading = ReadSeed(wanted, seed.status);
      if (wanted.row != nullptr) {
        seed.cell = wanted.row->value("cell", "");
        seed.attempt = wanted.row->value("attempt", "");
      }
      cell.n_wanted += 1;
      if (seed.status != "missing" && seed.status != "failed") cell.n_answered += 1;
      if (seed.status != "ok" && (cell.status == "ok" || cell.status == "missing")) {
        cell.status = seed.status;
      }
      if (reading) {
        readings.push_back(*reading);
        seed.value = metric.Value(reading->x);
        if (reading->se) seed.se = metric.ValueError(reading->x, *reading->se);
        const Json& body = wanted.row->at("body");
        const auto number = [&body](const char* key) -> std::optional<double> {
          const auto found = body.find(key);
          if (found == body.end() || !found->is_number()) return std::nullopt;
          return found->get<double>();
        };
        if (number("n")) seed.n = static_cast<std::int64_t>(*number("n"));
        cell.n += seed.n;
        if (number("nll_sum") && seed.n > 0) {
          nll_sum += *number("nll_sum");
          nll += *number("nll_sum") / static_cast<double>(seed.n);
          bytes += number("bytes").value_or(0.0);
        }
      }
      cell.seeds.push_back(std::move(seed));
    }
    cell.n_ok = readings.size();
    if (readings.empty()) return cell;
    const Reading mean = MeanOf(readings);
    cell.value = metric.Value(mean.x);
    if (mean.se) cell.se = metric.ValueError(mean.x, *mean.se);
    cell.se_is_over_seeds = readings.size() > 1;
    if (metric.source == "nll") cell.nll = nll / static_cast<double>(readings.size());
    if (bytes > 0) cell.bits_per_byte = nll_sum / std::numbers::ln2 / bytes;
    return cell;
  }

  // Numbers that can be compared: of one metric, over the same text, at the same length.
  static std::string RivalKey(const Wanted& wanted) {
    std::vector<Json> key = wanted.place->values;
    key.at(kVariant) = nullptr;  // variants compete
    key.emplace_back(wanted.run->dataset());
    return CanonicalJson(key);
  }

  void MarkBest(const std::vector<std::pair<std::size_t, std::size_t>>& cells,
                PivotTable& table) const {
    if (cells.size() < 2) return;
    std::vector<PivotCell*> best;
    for (const auto& [r, c] : cells) {
      PivotCell& cell = table.rows[r].cells[c];
      const Metric::Better better = cell.metric.better;
      const bool complete = cell.status == "ok" && cell.n_ok == cell.n_wanted;
      if (better == Metric::Better::kNeither || !complete || !std::isfinite(*cell.value)) continue;
      if (table.relative && cell.at_train_length) continue;  // all are 1 there
      const double sign = better == Metric::Better::kLower ? 1.0 : -1.0;
      if (!best.empty() && sign * *cell.value > sign * *best.front()->value) continue;
      if (!best.empty() && *cell.value != *best.front()->value) best.clear();
      best.push_back(&cell);
    }
    for (PivotCell* cell : best) cell->is_best = true;
  }

  // Among which cells the best is looked for, in words.
  std::string BestOf(const Page& page) const {
    std::set<Ranks> row_ranks;
    for (const auto& [ranks, line] : page.lines) row_ranks.insert(ranks);
    const auto comparing = [](const std::vector<AxisOrder>& orders, const std::set<Ranks>& ranks) {
      std::vector<std::string> axes;
      for (std::size_t i = 0; i < orders.size(); ++i) {
        const std::string& axis = orders[i].axis();
        if (axis == "variant" || (!IsEvaluationAxis(axis) && axis != "dataset")) continue;
        const bool varies = std::ranges::any_of(
            ranks, [&](const Ranks& other) { return other[i] != (*ranks.begin())[i]; });
        if (varies) axes.push_back(axis);
      }
      return axes;
    };
    std::vector<std::string> down = comparing(row_orders_, row_ranks);
    const std::vector<std::string> across = comparing(col_orders_, page.columns);
    if (down.empty()) return "of the column";
    if (across.empty() && !Contains(down, "dataset")) return "of the row";
    if (down == std::vector<std::string>{"dataset"}) return "of the column for each dataset";
    down.insert(down.end(), across.begin(), across.end());
    return Str("at the same ", Join(down, ", "));
  }

  const std::vector<Json>& results_;
  const PivotRequest& request_;
  std::vector<RunRef> runs_;
  std::map<std::pair<std::size_t, std::string>, const RunRef*> run_of_;  // sweep and run key
  std::vector<std::string> axes_;                                        // of the matrices
  std::vector<Metric> metrics_;
  std::vector<std::string> row_axes_, col_axes_;
  std::vector<PivotFilter> where_;
  bool baselines_apart_ = true;
  std::map<std::string, std::shared_ptr<Place>> place_of_;
  std::vector<std::pair<std::size_t, std::shared_ptr<Place>>> places_;  // of each sweep
  std::set<std::pair<std::size_t, std::string>> in_sweep_;
  Evaluations evaluations_;
  std::map<std::string, Json> averaging_;  // of a sweep's metric, split and protocol
  std::map<std::pair<const RunRef*, std::string>, const Json*> rows_;
  std::vector<Wanted> wanted_;
  std::vector<AxisOrder> row_orders_, col_orders_, page_orders_;
  std::map<Ranks, Page> pages_;
  std::vector<PivotTable> tables_;
};

}  // namespace

Result<std::vector<PivotTable>> BuildPivot(const std::vector<Json>& results,
                                           const PivotRequest& request) {
  return Pivot(results, request).Build();
}

bool IsComplete(const std::vector<PivotTable>& tables) {
  for (const PivotTable& table : tables) {
    for (const PivotRow& row : table.rows) {
      if (!row.baseline.empty()) continue;
      for (const PivotCell& cell : row.cells) {
        if (cell.n_answered < cell.n_wanted) return false;
      }
    }
  }
  return !tables.empty();
}

}  // namespace longrun
