// -o json and -o jsonl: every number, with the results behind it.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "client/tables/pivot.h"

namespace longrun::client {

std::string RenderTablesJson(const std::vector<PivotTable>& tables);
std::string RenderTablesJsonl(const std::vector<PivotTable>& tables);  // one line per cell

// One object per table: {"metric","relative","better", FIXED.., "axes","column_axes","columns",
// "rows":[{AXES.., "seeds","runs","cells":[CELL]}],"baselines":[{"name","dataset","cells"}]} with
// CELL = {COLUMN AXES.., METRIC (or "value"), "se","se_over","nll","n","bits_per_byte","seeds",
// "answered","of","status","at_train_length","best",
// "values":[{"seed","run","cell","attempt","value","se","n","status"}]}.
Json TablesJson(const std::vector<PivotTable>& tables);

}  // namespace longrun::client
