// The output formats of a table: `-o NAME`. One format is one file table_NAME.cc and one line in
// table_format.cc.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "client/tables/pivot.h"

namespace longrun {

struct TableFormat {
  std::string name;
  std::string (*render)(const std::vector<PivotTable>& tables);
  bool is_for_people = true;  // else for programs
};

// The number of columns by position for which a table for people has room.
inline constexpr std::int64_t kBucketsShown = 8;

const std::vector<TableFormat>& TableFormats();
std::vector<std::string> TableFormatNames();
// `name` is one of TableFormatNames().
bool IsForPeople(const std::string& name);
std::string RenderTables(const std::vector<PivotTable>& tables, const std::string& name);

// ---- what the forms share --------------------------------------------------------------------------

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

std::string RenderTablesText(const std::vector<PivotTable>& tables);
std::string RenderTablesWide(const std::vector<PivotTable>& tables);  // with seeds, runs, digits
std::string RenderTablesJson(const std::vector<PivotTable>& tables);
std::string RenderTablesJsonl(const std::vector<PivotTable>& tables);  // one line per cell
std::string RenderTablesCsv(const std::vector<PivotTable>& tables);    // a line per cell, RFC 4180
std::string RenderTablesMarkdown(const std::vector<PivotTable>& tables);
std::string RenderTablesLatex(const std::vector<PivotTable>& tables);  // booktabs

// One object per table: {"metric","relative","better", FIXED.., "axes","column_axes","columns",
// "rows":[{AXES.., "seeds","runs","cells":[CELL]}],"baselines":[{"name","dataset","cells"}]} with
// CELL = {COLUMN AXES.., METRIC (or "value"), "se","se_over","nll","n","bits_per_byte","seeds",
// "answered","of","status","at_train_length","best",
// "values":[{"seed","run","cell","attempt","value","se","n","status"}]}.
Json TablesJson(const std::vector<PivotTable>& tables);

}  // namespace longrun
