// What the output formats of a table share: titles, heads, legends, and the parts of a cell.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "client/tables/pivot.h"

namespace longrun::client {

// The head of a column: "64"; for several axes "train 32 / context 64".
std::string ColumnHead(const PivotTable& table, std::size_t column);
// "perplexity by context length (validation, nonoverlap)"
std::string TableTitle(const PivotTable& table);
// "± standard error", and over what if seeds are averaged; "" if no number has an error.
std::string ErrorLegend(const PivotTable& table);
// The same, and what short cells show instead of a number.
std::string CellLegend(const PivotTable& table);
// A row's axes as text; for a baseline, its name and dataset.
std::vector<std::string> RowHead(const PivotTable& table, const PivotRow& row);

// A cell's parts, before a format adds its markup.
struct CellParts {
  std::string value = {};  // "6.69"; "" if there is none
  std::string error = {};  // "0.05", with the digits of the value; ""
  std::string note = {};   // "2/3", "diverged", "1/3 diverged"; ""
};
// `more_digits`: digits beyond those for which a table has room.
CellParts PartsOf(const PivotTable& table, const PivotCell& cell, int more_digits = 0);

}  // namespace longrun::client
