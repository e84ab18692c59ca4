// The plan of a submission (coordinator/plan.h) as an answer.
#pragma once

#include <map>
#include <string>

#include "coordinator/core.h"
#include "coordinator/rpc/refresh.h"
#include "coordinator/store/reader.h"
#include "longrun/v1/sweeps.pb.h"
#include "sweeps/sweep.h"

namespace longrun::coordinator {

// Plans the submission of `sweep`, and fills the whole response. Times are predicted from the
// newest tasks that have succeeded. `known_cells`: from StoreReader::CellOwners. `refresh`: the
// numbers to measure again; null if none were asked for.
Status FillPlan(Core& core, StoreReader& reader, bool is_remote, const Sweep& sweep,
                std::map<std::string, std::string> known_cells, const Refresh* refresh,
                v1::PlanSweepResponse* response);

}  // namespace longrun::coordinator
