#include "client/tables/published.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <set>

#include "base/str.h"
#include "client/console/input.h"
#include "client/tables/metric.h"
#include "client/tables/pivot_axes.h"
#include "client/tables/pivot_cell.h"
#include "client/tables/table_parts.h"
#include "client/words/render.h"
#include "model/data/tokenizer.h"
#include "sweeps/extended.h"
#include "sweeps/limits.h"

namespace longrun::client {
namespace {

constexpr const char* kContextLength = "context_length";

Status Invalid(const std::string& message) { return {Code::kInvalidArgument, message}; }

// What cannot be asked for together with published numbers.
Status CheckRequest(const PivotRequest& request, const PublishedTable& published) {
  const auto refuse = [](const char* option, const char* why) {
    return Invalid(
        Str(option, " cannot be used with --published: ", why, "; leave ", option, " out"));
  };
  if (!request.rows.empty()) return refuse("--rows", "the published table has its own axes");
  if (!request.cols.empty()) return refuse("--cols", "the published table has its own axes");
  if (request.relative) return refuse("--relative", "both choose the number to compare with");
  if (request.against) return refuse("--against", "both choose the number to compare with");
  for (const std::string& metric : request.metrics) {
    if (metric == published.metric) continue;
    return Invalid(Str("--metric ", metric, " cannot be used with --published: the metric of ",
                       published.name, " is ", published.metric, "; leave --metric out"));
  }
  return {};
}

// A published value on an axis, or its context length.
struct PublishedPlace {
  std::string text;
  std::optional<std::int64_t> count = {};
};

// Whether it is what a user wrote.
bool IsPublishedAs(const PublishedPlace& place, const std::string& text) {
  return place.text == text || IsWritten(Json(place.text), text) ||
         (place.count && IsWritten(Json(*place.count), text));
}

// Whether our value on an axis is the published one.
bool IsOurs(const Json& ours, const PublishedValue& value, std::size_t axis) {
  const std::optional<std::int64_t> count = value.CountAt(axis);
  return IsWritten(ours, value.at[axis]) ||
         (count && ours.is_number() && ours.get<double>() == static_cast<double>(*count));
}

// Keeps those of the published numbers that a condition on one of their axes names. Ours follow, as
// they are looked for at the places of theirs.
Status KeepWhere(const PivotFilter& filter, std::size_t axis, PublishedTable& published) {
  const auto place_of = [axis](const PublishedValue& value) -> PublishedPlace {
    if (axis >= value.at.size()) return {.text = Str(value.context_length)};
    return {.text = value.at[axis], .count = value.CountAt(axis)};
  };
  std::vector<std::string> there;
  for (const PublishedValue& value : published.values) {
    const std::string text = place_of(value).text;
    if (std::ranges::find(there, text) == there.end()) there.push_back(text);
  }
  const auto has = [&](const std::string& wanted) {
    return std::ranges::any_of(published.values, [&](const PublishedValue& value) {
      return IsPublishedAs(place_of(value), wanted);
    });
  };
  const std::vector<std::string> values =
      has(filter.whole) ? std::vector{filter.whole} : filter.values;
  for (const std::string& value : values) {
    if (has(value)) continue;
    return Invalid(Str("--where ", filter.axis, ": ", published.name, " has no number at \"", value,
                       "\"; it has numbers at ", Join(there, ", ")));
  }
  std::erase_if(published.values, [&](const PublishedValue& value) {
    const PublishedPlace place = place_of(value);
    return std::ranges::none_of(
        values, [&place](const std::string& wanted) { return IsPublishedAs(place, wanted); });
  });
  return {};
}

// Applies the conditions on the published axes. The others choose among ours, and are left.
Status ApplyWhere(std::vector<PivotFilter>& where, PublishedTable& published) {
  std::vector<PivotFilter> ours;
  for (PivotFilter& filter : where) {
    const auto axis = std::ranges::find_if(published.axes, [&filter](const std::string& one) {
      return one == filter.axis || ShortAxis(one) == filter.axis;
    });
    if (axis == published.axes.end() && filter.axis != kContextLength) {
      ours.push_back(std::move(filter));
      continue;
    }
    const auto index = static_cast<std::size_t>(axis - published.axes.begin());
    RETURN_IF_ERROR(KeepWhere(filter, index, published));
    if (published.values.empty()) {
      return Invalid(Str("no number of ", published.name, " fulfils all conditions of --where"));
    }
  }
  where = std::move(ours);
  return {};
}

// Of several tables those with the dataset, the split and the protocol of the published settings,
// as far as there are any, and those of the text that the models were trained on.
void KeepAsPublished(const PublishedTable& published, std::vector<PivotTable>& tables) {
  const auto reads_another = [](const PivotTable& table) {
    return std::ranges::any_of(
        table.fixed, [](const auto& fixed) { return fixed.first == kEvaluatedDatasetAxis; });
  };
  if (!std::ranges::all_of(tables, reads_another)) std::erase_if(tables, reads_another);
  constexpr std::pair<const char*, const char*> kSettings[] = {
      {"dataset", "dataset"}, {"evaluate.split", "split"}, {"evaluate.protocol", "protocol"}};
  for (const auto& [key, axis] : kSettings) {
    const auto setting =
        std::ranges::find(published.settings, key, [](const auto& one) { return one.first; });
    if (setting == published.settings.end()) continue;
    const std::pair<std::string, Json> wanted = {axis, setting->second};
    const auto is_other = [&wanted](const PivotTable& table) {
      return std::ranges::find(table.fixed, wanted) == table.fixed.end();
    };
    if (!std::ranges::all_of(tables, is_other)) std::erase_if(tables, is_other);
  }
}

// Says in what the tables differ.
Status SeveralTables(const std::vector<PivotTable>& tables, const PublishedTable& published) {
  std::vector<std::string> titles;
  for (const PivotTable& table : tables) {
    std::vector<std::string> parts;
    for (const auto& fixed : table.fixed) {
      const bool is_shared = std::ranges::all_of(tables, [&fixed](const PivotTable& other) {
        return std::ranges::find(other.fixed, fixed) != other.fixed.end();
      });
      if (!is_shared) parts.push_back(Str(fixed.first, "=", AxisText(fixed.second)));
    }
    titles.push_back(Join(parts, ","));
  }
  return Invalid(Str(published.name,
                     " can be compared with several tables of the sweep; choose "
                     "one with --where: ",
                     Join(titles, " or ")));
}

// The sweep's numbers by the published axes and the context length. Nothing if the sweep lacks an
// axis or the metric; then `lacking` says which.
Result<std::optional<PivotTable>> OurTable(const std::vector<SweepResults>& results,
                                           const PublishedTable& published,
                                           const PivotRequest& request,
                                           std::vector<std::string>& lacking) {
  const std::vector<RunRef> runs = RunRefsOf(results);
  const std::vector<std::string> matrix = MatrixAxes(results, runs);
  const auto is_extended = [](const ResultRow& row) {
    return !ExtensionOf(row.evaluation).is_null();
  };
  const bool has_extensions = std::ranges::any_of(results, [&](const SweepResults& result) {
    return std::ranges::any_of(result.rows, is_extended);
  });
  for (const std::string& axis : published.axes) {
    const Result<std::string> name = ResolveAxis(axis, matrix, runs);
    const bool has = name.ok() && std::ranges::any_of(runs, [&](const RunRef& run) {
                       if (*name == "extension") return has_extensions;
                       return IsEvaluationAxis(*name) || !RunValue(run, *name).is_null();
                     });
    if (!has) lacking.push_back(Str("axis ", axis));
  }
  const std::vector<ResultMetric> metrics = MetricsOf(SourcesOf(results));
  if (std::ranges::find(metrics, published.metric, &ResultMetric::name) == metrics.end()) {
    lacking.push_back(Str("numbers of metric ", published.metric));
  }
  if (!lacking.empty()) {
    // The conditions on ours are checked nevertheless.
    PivotRequest any;
    any.where = request.where;
    RETURN_IF_ERROR(BuildPivot(results, any).status());
    return std::optional<PivotTable>();
  }

  PivotRequest ours = request;
  ours.rows = published.axes;
  ours.cols = {kContextLength};
  ours.metrics = {published.metric};
  ASSIGN_OR_RETURN(std::vector<PivotTable> tables, BuildPivot(results, ours));
  KeepAsPublished(published, tables);
  if (tables.size() > 1) return SeveralTables(tables, published);
  if (tables.empty()) return std::optional<PivotTable>();
  return std::optional(std::move(tables.front()));
}

// The ends of the 95 % interval over both sources of error.
std::pair<double, double> OverBoth(const PivotCell& cell) {
  const Estimate& estimate = cell.estimate;
  const double half =
      std::hypot(estimate.seeds.half95().value_or(0.0), estimate.text.half95().value_or(0.0));
  const auto value = [&cell](double x) { return cell.metric.is_log ? std::exp(x) : x; };
  const double low = estimate.x - half;
  // No loss is negative (table_parts.cc).
  return {value(cell.metric.is_nll() ? std::max(0.0, low) : low), value(estimate.x + half)};
}

// Sets what the cell says: ours, its interval, and the comparison.
void SetOurs(const PivotTable& table, const PivotCell& cell, double reading_error,
             PublishedLine& line) {
  line.status = cell.status;
  line.ours = cell.value;
  const CellParts parts = PartsOf(table, cell);
  line.ours_text = ValueText(parts, "±");
  if (!parts.note.empty()) {
    StrAppend(line.ours_text, Str(line.ours_text.empty() ? "" : " ", parts.note));
  }
  for (const SeedValue& seed : cell.seeds) line.runs.push_back(seed.run_key);
  if (!cell.value) return;
  line.ours95 = Interval95(table, cell);
  const bool is_ratio = ComparesAsRatio(cell.metric);
  if (is_ratio && line.theirs == 0.0) return;
  const auto compared = [&](double ours) {
    return is_ratio ? ours / line.theirs : ours - line.theirs;
  };
  line.difference = compared(*cell.value);
  if (!line.ours95) return;
  const double a = compared(line.ours95->first), b = compared(line.ours95->second);
  line.difference95 = std::minmax(a, b);
  const auto [low, high] = OverBoth(cell);
  line.is_apart = line.theirs + reading_error < low || line.theirs - reading_error > high;
}

// Adds a line for each of our rows that a published number is about: "rope" is also
// rope(base=500000). Without any, one with only theirs.
void AddLines(const PublishedTable& published, const PivotTable* table,
              PublishedComparison& comparison) {
  std::vector<PublishedLine>& lines = comparison.lines;
  for (const PublishedValue& value : published.values) {
    const PublishedLine theirs = {.at = value.at,
                                  .context_length = value.context_length,
                                  .theirs = value.value,
                                  .ours_text = "–"};
    const std::size_t n_before = lines.size();
    for (std::size_t r = 0; table != nullptr && r < table->rows.size(); ++r) {
      const PivotRow& row = table->rows[r];
      const bool is_of_model = row.baseline.empty();
      bool is_at = is_of_model && row.key.size() == value.at.size();
      for (std::size_t a = 0; is_at && a < value.at.size(); ++a) {
        is_at = IsOurs(row.key[a], value, a);
      }
      if (!is_at) continue;
      for (std::size_t c = 0; c < table->columns.size(); ++c) {
        const PivotCell& cell = row.cells[c];
        const bool is_here = table->columns[c].front() == value.context_length;
        if (!is_here || cell.status == "not_asked") continue;
        PublishedLine line = theirs;
        for (std::size_t a = 0; a < line.at.size(); ++a) line.at[a] = AxisText(row.key[a]);
        SetOurs(*table, cell, published.reading_error, line);
        lines.push_back(std::move(line));
      }
    }
    if (lines.size() == n_before) lines.push_back(theirs);
    const auto begin = lines.begin() + static_cast<std::ptrdiff_t>(n_before);
    const bool is_measured =
        std::any_of(begin, lines.end(), [](const PublishedLine& line) { return line.ours; });
    comparison.n_measured += is_measured ? 1 : 0;
  }
  comparison.n_published = published.values.size();
}

// ---- settings ----------------------------------------------------------------------------------

// A tokenizer by its name, if it is one that this machine has; else by its fingerprint.
std::string TokenizerName(const std::string& fingerprint) {
  for (const char* const name : {"bytes", "gpt2"}) {
    const Result<std::unique_ptr<Tokenizer>> tokenizer = MakeTokenizer(name);
    if (tokenizer.ok() && (*tokenizer)->vocabulary().Fingerprint() == fingerprint) return name;
  }
  return Str("fingerprint ", ShortId(fingerprint));
}

// The value below a dotted path; null if there is none.
Json ValueAt(const Json& object, std::string_view path) {
  const Json* value = &object;
  for (const std::string& part : Split(path, '.')) {
    if (!value->is_object() || !value->contains(part)) return nullptr;
    value = &value->at(part);
  }
  return *value;
}

Json OfRun(const ResultRun& run, const std::string& key) {
  if (key == "dataset") return std::string(DatasetName(run.dataset));
  if (key != "tokenizer") return ValueAt(run.resolved, key);
  const Json fingerprint = ValueAt(run.resolved, "tokenizer.fingerprint");
  return fingerprint.is_string() ? Json(TokenizerName(fingerprint.get<std::string>())) : Json();
}

// A parameter of an evaluation as a row says it; null for another name.
Json ParamOf(const RowBody& body, std::string_view param) {
  if (param == "metric") return body.metric;
  if (param == "split") return AxisValue(body.split);
  if (param == "protocol") return AxisValue(body.protocol);
  if (param == "averaging") return AxisValue(body.averaging);
  if (param == "variant") return AxisValue(body.variant);
  if (param == "depth") return AxisValue(body.depth);
  if (param == kContextLength) return AxisValue(body.context_length);
  if (param == "n") return AxisValue(body.n);
  if (param == "bytes") return AxisValue(body.n_bytes);
  return nullptr;
}

// A parameter of the row's evaluation: as it was asked, or as the row says it.
Json OfEvaluation(const ResultRow& row, const std::string& param) {
  if (row.evaluation.is_object() && row.evaluation.size() == 1) {
    if (Json value = ValueAt(row.evaluation.begin().value(), param); !value.is_null()) return value;
  }
  return ParamOf(row.body, param);
}

void CompareSettings(const std::vector<SweepResults>& results, PublishedComparison& comparison) {
  constexpr std::string_view kEvaluate = "evaluate.";
  std::set<std::string> runs;
  std::set<std::int64_t> lengths;
  for (const PublishedLine& line : comparison.lines) {
    runs.insert(line.runs.begin(), line.runs.end());
    if (!line.runs.empty()) lengths.insert(line.context_length);
  }
  for (const auto& [key, theirs] : comparison.published.settings) {
    PublishedSetting setting{.key = key, .theirs = theirs};
    const auto add = [&setting](Json value) {
      const bool is_new = std::ranges::find(setting.ours, value) == setting.ours.end();
      if (!value.is_null() && is_new) setting.ours.push_back(std::move(value));
    };
    for (const SweepResults& result : results) {
      // With nothing to compare, those of all runs.
      const auto counts = [&runs](const std::string& run_key) {
        return runs.empty() || runs.contains(run_key);
      };
      if (!key.starts_with(kEvaluate)) {
        for (const ResultRun& run : result.runs) {
          if (counts(run.run_key)) add(OfRun(run, key));
        }
        continue;
      }
      for (const ResultRow& row : result.rows) {
        if (!counts(row.run_key)) continue;
        const std::optional<std::int64_t> length = row.body.context_length;
        const bool is_here = lengths.empty() || (length && lengths.contains(*length));
        if (is_here) add(OfEvaluation(row, key.substr(kEvaluate.size())));
      }
    }
    const bool is_equal = setting.ours.size() == 1 && setting.ours.front() == theirs;
    (is_equal               ? comparison.equal
     : setting.ours.empty() ? comparison.absent
                            : comparison.differing)
        .push_back(std::move(setting));
  }
}

}  // namespace

Result<PublishedComparison> CompareWithPublished(const std::vector<SweepResults>& results,
                                                 PublishedTable published, PivotRequest request) {
  RETURN_IF_ERROR(CheckRequest(request, published));
  RETURN_IF_ERROR(ApplyWhere(request.where, published));
  PublishedComparison comparison;
  ASSIGN_OR_RETURN(const std::optional<PivotTable> table,
                   OurTable(results, published, request, comparison.lacking));
  comparison.metric_words = published.metric;
  if (table) {
    comparison.metric_words = table->metrics.front().words();
    comparison.is_ratio = ComparesAsRatio(table->metrics.front());
    comparison.error_legend = ErrorLegend(*table);
    comparison.ours_title = TableTitle(*table);
  }
  AddLines(published, table ? &*table : nullptr, comparison);
  comparison.published = std::move(published);
  CompareSettings(results, comparison);
  return comparison;
}

Result<PublishedTable> ReadPublishedTable(const std::string& name) {
  if (name.empty()) {
    return Invalid(
        "--published is empty: give a file, or a name that `longrun explain published` lists");
  }
  if (name.find('/') == std::string::npos && !name.ends_with(".yaml")) {
    return FindPublishedTable(name);
  }
  ASSIGN_OR_RETURN(const std::string yaml, ReadGivenFile(name, "published table", kSweepBytesMax));
  return ParsePublishedTable(yaml, name);
}

}  // namespace longrun::client
