// One cell of a pivot: the seeds of a run, folded.
#pragma once

#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "client/pivot.h"
#include "client/pivot_axes.h"

namespace longrun {

// What a seed has for a cell. The rows are those of GetResults, and are not owned.
struct SeedRow {
  const RunRef* run = nullptr;
  const Json* row = nullptr;        // null: not measured yet
  const Json* reference = nullptr;  // of a relative table: the row at the run's train length
  bool is_reference = false;        // `row` is that row
};

// At least one seed. A run that is there twice (shown by two sweeps) counts once. kInvalidArgument when
// the runs differ in more than their seed.
Result<PivotCell> FoldSeeds(const Metric& metric, const std::vector<SeedRow>& seeds, bool relative);

}  // namespace longrun
