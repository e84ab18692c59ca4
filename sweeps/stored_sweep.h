// Sweeps that were accepted once. An earlier release may have accepted more than this one does, and
// its sweeps stay readable.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "sweeps/sweep.h"

namespace longrun {

// ParseSweep without limits that only this release has: on the results of one evaluation of a run.
Result<Sweep> ParseStoredSweep(std::string_view yaml, std::string_view file_name,
                               const std::vector<std::pair<std::string, std::string>>& overrides,
                               const DatasetCatalogue& datasets);

}  // namespace longrun
