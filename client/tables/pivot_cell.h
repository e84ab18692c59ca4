// One cell of a pivot: the average over the seeds of a run.
#pragma once

#include <optional>
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

// The cell's comparison with another one of its metric, on the scale of ComparesAsRatio: the
// logarithm of cell / reference, or cell - reference. Returns nullopt if one of them has no number
// that can be compared.
std::optional<PairedDifference> CompareCells(const PivotCell& reference, const PivotCell& cell);

// Turns a cell into its comparison with another one: cell / reference or cell - reference
// (ComparesAsRatio), with `p`. Without a number in the reference it gets the status
// "no_reference".
void SetAgainst(const PivotCell* reference, PivotCell& cell);

// Requires at least one seed. A run that occurs twice (in two sweeps) counts once. kInvalidArgument
// if the runs differ in more than their seed: the error may name an axis that would keep them apart
// beside the table's `row_axes`; null if other rows would not help.
Result<PivotCell> FoldSeeds(const ResultMetric& metric, const std::vector<SeedRow>& seeds,
                            bool relative, const std::vector<std::string>* row_axes = nullptr);

}  // namespace longrun::client
