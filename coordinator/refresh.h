// Which known numbers `--refresh-errors` measures again: those whose rows lack what this version
// measures for the error from the text (model/evaluation/nll_row.h). Pure.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "coordinator/store/reader.h"

namespace longrun::coordinator {

// An evaluation at least one of whose rows lacks it. It is measured again as a whole, since one
// attempt counts for all of its rows.
struct StaleTask {
  std::string task;
  std::string attempt;  // that counts
  std::string run_key;
  std::set<std::string> cells;  // whose rows lack it
};
// By task. `rows`: rows that count; one that cannot be read is left to `longrun retry`.
std::vector<StaleTask> FindStale(const std::vector<ResultBody>& rows);

// "run 3f2a91c0: nll at 64, 256: WHY": of its stale cells, for people. `cells`: all of the task.
std::string NotRefreshedText(const StaleTask& stale, const std::vector<ExpectedCell>& cells,
                             std::string_view why);

}  // namespace longrun::coordinator
