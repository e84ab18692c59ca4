// -o json and -o jsonl: every number, with the results from which it was computed.
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
// CELL = {COLUMN AXES.., METRIC (or "value"), "se","se_over","ci95":[low,high],"se_seeds",
// "df_seeds","se_text","df_text","clusters","n_clusters","nll","n","bits_per_byte","seeds",
// "answered","of","status","at_train_length","best","p_best" (of a comparison "p","p_holm",
// "text_is_paired","seeds_matched"),
// "values":[{"seed","run","cell","attempt","value","se","n","status"}]}.
Json TablesJson(const std::vector<PivotTable>& tables);

}  // namespace longrun::client
