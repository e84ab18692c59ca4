// One cell of a pivot: the average over the seeds of a run.
#pragma once

#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "client/tables/pivot.h"
#include "client/tables/pivot_axes.h"

namespace longrun::client {

// A seed's data for a cell. The rows are not owned.
struct SeedRow {
  const RunRef* run = nullptr;
  const ResultRow* row = nullptr;        // null: not measured yet
  const ResultRow* reference = nullptr;  // relative tables: the row at the run's train length
  bool is_reference = false;             // `row` is that row
};

// Requires at least one seed. A run that occurs twice (in two sweeps) counts once. kInvalidArgument
// if the runs differ in more than their seed.
Result<PivotCell> FoldSeeds(const ResultMetric& metric, const std::vector<SeedRow>& seeds,
                            bool relative);

}  // namespace longrun::client
