#include "client/tables/table_csv.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/str.h"
#include "client/tables/pivot_axes.h"
#include "client/words/render.h"

namespace longrun {
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

// The axes of all tables in one order, however they are laid out: those of runs (the matrix as in its
// file, then others by name), and those of evaluations.
struct Columns {
  std::vector<std::string> of_runs = {};
  std::vector<std::string> of_evaluations = {};
  bool has_one_metric = true;
};

Columns ColumnsOf(const std::vector<PivotTable>& tables) {
  std::set<std::string> used;
  std::set<std::string> metrics;
  for (const PivotTable& table : tables) {
    used.insert(table.row_axes.begin(), table.row_axes.end());
    used.insert(table.col_axes.begin(), table.col_axes.end());
    for (const auto& [axis, value] : table.fixed) used.insert(axis);
    for (const Metric& metric : table.metrics) metrics.insert(metric.name);
  }
  Columns columns{.has_one_metric = metrics.size() == 1};
  used.erase("metric");  // has a column of its own
  for (const PivotTable& table : tables) {
    for (const std::string& axis : table.matrix_axes) {
      if (used.contains(axis) && !Contains(columns.of_runs, axis)) columns.of_runs.push_back(axis);
    }
  }
  for (const std::string& axis : used) {
    if (!IsEvaluationAxis(axis) && !Contains(columns.of_runs, axis))
      columns.of_runs.push_back(axis);
  }
  for (const std::string& axis : EvaluationAxes()) {
    if (used.contains(axis)) columns.of_evaluations.push_back(axis);
  }
  return columns;
}

std::vector<std::string> Header(const std::vector<PivotTable>& tables, const Columns& columns) {
  std::vector<std::string> header = columns.of_runs;
  header.emplace_back("baseline");
  header.insert(header.end(), columns.of_evaluations.begin(), columns.of_evaluations.end());
  const PivotTable& first = tables.front();
  header.push_back(columns.has_one_metric
                       ? Str(first.relative ? "relative_" : "", first.metrics.front().name)
                       : "value");
  header.insert(header.end(), {"se", "nll", "n", "bits_per_byte", "seeds", "of", "status", "metric",
                               "se_over", "runs"});
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

std::string RunsOf(const PivotRow& row, const PivotCell& cell) {
  if (!row.baseline.empty()) return "";
  std::vector<std::string> runs;
  for (const SeedValue& seed : cell.seeds) {
    if (!Contains(runs, seed.run_key)) runs.push_back(seed.run_key);
  }
  return Join(runs, " ");
}

std::vector<std::string> Fields(const PivotTable& table, const PivotRow& row, std::size_t column,
                                const Columns& columns) {
  const PivotCell& cell = row.cells[column];
  std::vector<std::string> fields;
  for (const std::string& axis : columns.of_runs) {
    fields.push_back(AxisField(ValueOn(table, row, column, axis)));
  }
  fields.push_back(row.baseline);
  for (const std::string& axis : columns.of_evaluations) {
    fields.push_back(AxisField(ValueOn(table, row, column, axis)));
  }
  const std::string se_over = !cell.se ? "" : cell.se_is_over_seeds ? "seeds" : "text";
  fields.insert(fields.end(), {Value(cell), Number(cell.se), Number(cell.nll), Str(cell.n),
                               Number(cell.bits_per_byte), Str(cell.n_ok), Str(cell.n_wanted),
                               cell.status, cell.metric.name, se_over, RunsOf(row, cell)});
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

}  // namespace longrun
