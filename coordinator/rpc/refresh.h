// The part of a submission or its plan that `--refresh-errors` asks for.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "coordinator/rpc/call.h"
#include "coordinator/scheduler/scheduler.h"
#include "longrun/v1/sweeps.pb.h"

namespace longrun::coordinator {

struct Refresh {
  std::vector<StaleResult> stale;       // to measure again
  std::set<std::string> cells;          // of their tasks
  std::vector<std::string> under_way;   // tasks that already measure again
  std::vector<std::string> impossible;  // what cannot be measured again, and why
};

// Finds the numbers among `known_cells` (StoreReader::CellOwners) whose rows lack values that this
// version needs to compute the error over the text. Checks that the weights to measure them again
// are stored.
Result<Refresh> FindRefresh(Call& call, const std::map<std::string, std::string>& known_cells);

// `started`: tasks that measure again, apart from those under way.
void FillRefresh(const Refresh& refresh, const std::vector<std::string>& started,
                 v1::RefreshInfo* info);

}  // namespace longrun::coordinator
