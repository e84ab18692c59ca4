#include "client/tables/table_csv.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <set>

#include "base/str.h"
#include "client/tables/pivot_axes.h"
#include "client/tables/table_parts.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

std::string Number(const std::optional<double>& value) {
  return value && std::isfinite(*value) ? Str(*value) : std::string();
}

// What is too large for a number says so: an empty field would read as "not there".
std::string Value(const PivotCell& cell) {
  if (cell.value && std::isinf(*cell.value)) return *cell.value > 0 ? "inf" : "-inf";
  return Number(cell.value);
}

std::string AxisField(const Json& value) { return value.is_null() ? "" : AxisText(value); }

bool Contains(const std::vector<std::string>& list, const std::string& item) {
  return std::ranges::find(list, item) != list.end();
}

// Axes of evaluations. The columns of the second group came later and follow all others, so that
// the place of a column never changes.
constexpr const char* kOfEvaluation[] = {"split", "protocol", "context_length"};
constexpr const char* kOfEvaluationLast[] = {"evaluation", "variant", "depth", "tokens_of_context"};
constexpr const char* kErrors[] = {"se_seeds",  "df_seeds", "se_text", "df_text", "ci95_low",
                                   "ci95_high", "clusters", "p",       "p_holm"};

// The columns that depend on the sweeps and on the command: the same for every layout of the same
// sweeps, unless a key of a resolved run is an axis.
struct Columns {
  std::vector<std::string> matrix = {};  // in the order of the files, without seed and sweep
  std::vector<std::string> others = {};  // axes that have no other column
  bool has_one_metric = true;
  bool has_speeds = false;   // their quantiles have columns
  bool has_shares = false;   // as have their Wilson intervals
  bool has_windows = false;  // as have the tests against a plain window
  bool has_prompts = false;  // as have the tokens of the longest prompt
};

Columns ColumnsOf(const std::vector<PivotTable>& tables) {
  std::set<std::string> used;
  std::set<std::string> metrics;
  Columns columns;
  for (const PivotTable& table : tables) {
    used.insert(table.row_axes.begin(), table.row_axes.end());
    used.insert(table.col_axes.begin(), table.col_axes.end());
    // They have a column wherever a sweep has extensions, or evaluations of several datasets.
    for (const auto& [axis, value] : table.fixed) {
      if (axis == "extension" || axis == kEvaluatedDatasetAxis) used.insert(axis);
    }
    for (const ResultMetric& metric : table.metrics) {
      metrics.insert(metric.name);
      columns.has_speeds = columns.has_speeds || metric.is_speed();
      const bool compares = table.relative || !table.against.empty();
      columns.has_shares = columns.has_shares || (metric.is_share() && !compares);
    }
    for (const PivotRow& row : table.rows) {
      columns.has_windows =
          columns.has_windows || std::ranges::any_of(row.cells, [](const PivotCell& cell) {
            return cell.window_tokens > 0;
          });
    }
    for (const PivotRow& row : table.rows) {
      columns.has_prompts =
          columns.has_prompts || std::ranges::any_of(row.cells, [](const PivotCell& cell) {
            return cell.longest_prompt > 0;
          });
    }
    for (const std::string& axis : table.matrix_axes) {
      const bool is_list = axis == "seed" || axis == "sweep";
      if (!is_list && !Contains(columns.matrix, axis)) columns.matrix.push_back(axis);
    }
  }
  columns.has_one_metric = metrics.size() == 1;
  for (const char* with_column : {"metric", "sweep", "seed"}) used.erase(with_column);
  for (const char* axis : kOfEvaluation) used.erase(axis);
  for (const char* axis : kOfEvaluationLast) used.erase(axis);
  for (const std::string& axis : columns.matrix) used.erase(axis);
  columns.others.assign(used.begin(), used.end());
  return columns;
}

const char* ComparedPrefix(const PivotTable& table) {
  if (table.against.empty()) return table.relative ? "relative_" : "";
  return ComparesAsRatio(table.metrics.front()) ? "relative_" : "difference_";
}

std::vector<std::string> Header(const std::vector<PivotTable>& tables, const Columns& columns) {
  std::vector<std::string> header = columns.matrix;
  header.emplace_back("baseline");
  header.insert(header.end(), std::begin(kOfEvaluation), std::end(kOfEvaluation));
  const PivotTable& first = tables.front();
  const std::string metric = Str(ComparedPrefix(first), first.metrics.front().name);
  // These have a column of their own below.
  const bool is_named = columns.has_one_metric && metric != "nll" && metric != "bits_per_byte";
  header.push_back(is_named ? metric : "value");
  header.insert(header.end(), {"se", "nll", "n", "bits_per_byte", "seeds", "of", "status", "metric",
                               "se_over", "runs", "sweep", "seed"});
  header.insert(header.end(), std::begin(kOfEvaluationLast), std::end(kOfEvaluationLast));
  header.insert(header.end(), std::begin(kErrors), std::end(kErrors));
  if (columns.has_speeds) header.insert(header.end(), kQuantiles.begin(), kQuantiles.end());
  if (columns.has_shares) header.insert(header.end(), {"wilson95_low", "wilson95_high"});
  header.insert(header.end(), columns.others.begin(), columns.others.end());
  if (columns.has_windows) header.insert(header.end(), {"window_tokens", "p_window"});
  if (columns.has_prompts) header.emplace_back("longest_prompt");
  return header;
}

// What a cell has on an axis, wherever the table shows it; null where it has nothing.
Json ValueOn(const PivotTable& table, const PivotRow& row, std::size_t column,
             const std::string& axis) {
  for (std::size_t a = 0; a < table.row_axes.size(); ++a) {
    if (table.row_axes[a] == axis) return row.key[a];
  }
  for (std::size_t a = 0; a < table.col_axes.size(); ++a) {
    if (table.col_axes[a] == axis) return table.columns[column][a];
  }
  const auto fixed =
      std::ranges::find(table.fixed, axis, [](const auto& one) { return one.first; });
  return fixed == table.fixed.end() ? Json() : fixed->second;
}

// What the runs have that gave the cell's number, each value once: or, if there is none, all that
// were to give it. Nothing for a baseline, which is not a run.
template <typename Value>
std::string OfRuns(const PivotRow& row, const PivotCell& cell, Value value) {
  if (!row.baseline.empty()) return "";
  std::vector<std::string> values;
  for (const SeedValue& seed : cell.seeds) {
    if (cell.n_ok > 0 && seed.status != "ok" && seed.status != kOverflow) continue;
    std::string text = value(seed);
    if (!Contains(values, text)) values.push_back(std::move(text));
  }
  return Join(values, " ");
}

std::vector<std::string> Fields(const PivotTable& table, const PivotRow& row, std::size_t column,
                                const Columns& columns) {
  const PivotCell& cell = row.cells[column];
  std::vector<std::string> fields;
  const auto add_axis = [&](const std::string& axis) {
    fields.push_back(AxisField(ValueOn(table, row, column, axis)));
  };
  for (const std::string& axis : columns.matrix) add_axis(axis);
  fields.push_back(row.baseline);
  for (const char* axis : kOfEvaluation) add_axis(axis);
  const std::string se_over(cell.se ? ErrorSourceName(cell.error.source) : "");
  fields.insert(
      fields.end(),
      {Value(cell), Number(cell.se), Number(cell.nll), Str(cell.n), Number(cell.bits_per_byte),
       Str(cell.n_ok), Str(cell.n_wanted), cell.status, cell.metric.name, se_over,
       OfRuns(row, cell, [](const SeedValue& seed) { return seed.run_key; }),
       row.baseline.empty() ? Join(cell.sweeps, " ") : "",
       OfRuns(row, cell, [](const SeedValue& seed) { return AxisField(seed.seed); })});
  for (const char* axis : kOfEvaluationLast) add_axis(axis);
  const ErrorPart &seeds = cell.estimate.seeds, &text = cell.estimate.text;
  const auto interval = Interval95(table, cell);
  const auto df = [](const ErrorPart& part) { return part.se ? Number(part.df) : std::string(); };
  fields.insert(
      fields.end(),
      {Number(OnValueScale(table, cell, seeds.se)), df(seeds),
       Number(OnValueScale(table, cell, text.se)), df(text),
       interval ? Number(interval->first) : "", interval ? Number(interval->second) : "",
       std::string(ClustersName(cell.clusters)), Number(OnlyP(cell.p)), Number(cell.p_holm)});
  for (std::size_t i = 0; columns.has_speeds && i < kQuantiles.size(); ++i) {
    fields.push_back(cell.quantiles ? Number((*cell.quantiles)[i]) : "");
  }
  if (columns.has_shares) {
    const auto& wilson = text.ends95;
    fields.push_back(wilson ? Number(wilson->first) : "");
    fields.push_back(wilson ? Number(wilson->second) : "");
  }
  for (const std::string& axis : columns.others) add_axis(axis);
  if (columns.has_windows) {
    fields.push_back(cell.window_tokens > 0 ? Str(cell.window_tokens) : "");
    fields.push_back(Number(cell.p_window_holm));
  }
  if (columns.has_prompts) {
    fields.push_back(cell.longest_prompt > 0 ? Str(cell.longest_prompt) : "");
  }
  return fields;
}

}  // namespace

std::string RenderTablesCsv(const std::vector<PivotTable>& tables) {
  if (tables.empty()) return "";
  const Columns columns = ColumnsOf(tables);
  std::vector<std::vector<std::string>> rows;
  for (const PivotTable& table : tables) {
    for (const PivotRow& row : table.rows) {
      for (std::size_t c = 0; c < row.cells.size(); ++c) {
        if (row.cells[c].status != "not_asked") rows.push_back(Fields(table, row, c, columns));
      }
    }
  }
  return RenderCsv(Header(tables, columns), rows);
}

}  // namespace longrun::client
