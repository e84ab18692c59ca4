// Finds the known numbers that `--refresh-errors` measures again: those whose rows lack values that
// this version needs to compute the error over the text (model/evaluation/nll_row.h). Pure.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "coordinator/store/reader.h"

namespace longrun::coordinator {

// An evaluation with at least one row that lacks these values. The whole evaluation is measured
// again, since one attempt counts for all of its rows.
struct StaleTask {
  std::string task;
  std::string attempt;  // the one that counts
  std::string run_key;
  std::set<std::string> cells;  // whose rows lack these values
};
// Returns them in the order of their tasks. `rows`: the rows that count. Rows that cannot be read
// are skipped: `longrun retry` is for them.
std::vector<StaleTask> FindStale(const std::vector<ResultBody>& rows);

// "run 3f2a91c0: nll at 64, 256: WHY", with the stale cells, for people. `cells`: all of the task.
std::string NotRefreshedText(const StaleTask& stale, const std::vector<ExpectedCell>& cells,
                             std::string_view why);

}  // namespace longrun::coordinator
