// A run's JSON (run.h) with every error in the place of the first.
#pragma once

#include "base/error_list.h"
#include "sweeps/run.h"

namespace longrun {

// As Run::FromJson. Where there are errors, what comes back is no run to carry out.
Run ReadRun(const Json& json, ErrorList& errors);

}  // namespace longrun
