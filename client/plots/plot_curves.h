// From pivot tables to plots: a metric by context length, a series for each row.
#pragma once

#include <vector>

#include "base/status.h"
#include "client/plots/plot.h"
#include "client/tables/pivot.h"

namespace longrun::client {

// One plot for each table (for throughput, one for each direction), with a series for each row,
// including baselines. y is logarithmic if the values span more than a factor of 20.
// kInvalidArgument unless the columns are only context lengths or, by position,
// only tokens of context.
Result<std::vector<Plot>> PlotsOfTables(const std::vector<PivotTable>& tables);

}  // namespace longrun::client
