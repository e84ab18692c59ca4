// -o csv: one line a cell, for a spreadsheet.
#include <cmath>

#include "base/str.h"
#include "client/render.h"
#include "client/table_format.h"

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

std::vector<std::string> Header(const PivotTable& table) {
  std::vector<std::string> header = table.row_axes;
  header.emplace_back("baseline");
  for (const auto& [axis, value] : table.fixed) header.push_back(axis);
  header.insert(header.end(), table.col_axes.begin(), table.col_axes.end());
  const bool is_one = table.metrics.size() == 1;
  header.push_back(is_one ? Str(table.relative ? "relative_" : "", table.metrics.front().name)
                          : "value");
  header.insert(header.end(), {"se", "nll", "n", "bits_per_byte", "seeds", "of", "status"});
  return header;
}

std::vector<std::string> Fields(const PivotTable& table, const PivotRow& row, std::size_t column) {
  const PivotCell& cell = row.cells[column];
  std::vector<std::string> fields;
  for (const Json& value : row.key) fields.push_back(AxisField(value));
  fields.push_back(row.baseline);
  for (const auto& [axis, value] : table.fixed) fields.push_back(AxisField(value));
  for (const Json& value : table.columns[column]) fields.push_back(AxisField(value));
  fields.insert(fields.end(),
                {Value(cell), Number(cell.se), Number(cell.nll), Str(cell.n),
                 Number(cell.bits_per_byte), Str(cell.n_ok), Str(cell.n_wanted), cell.status});
  return fields;
}

}  // namespace

// Tables with other columns start with a header of their own.
std::string RenderTablesCsv(const std::vector<PivotTable>& tables) {
  std::string out;
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
  const auto flush = [&] {
    if (!header.empty()) StrAppend(out, Str(out.empty() ? "" : "\n", RenderCsv(header, rows)));
    rows.clear();
  };
  for (const PivotTable& table : tables) {
    if (Header(table) != header) {
      flush();
      header = Header(table);
    }
    for (const PivotRow& row : table.rows) {
      for (std::size_t c = 0; c < row.cells.size(); ++c) {
        if (row.cells[c].status != "not_asked") rows.push_back(Fields(table, row, c));
      }
    }
  }
  flush();
  return out;
}

}  // namespace longrun
