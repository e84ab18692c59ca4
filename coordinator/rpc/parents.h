// The runs that a sweep may continue.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "coordinator/core.h"
#include "coordinator/store/reader.h"
#include "sweeps/run.h"

namespace longrun {

// For DatasetCatalogue::find_run: a run by its key or an unambiguous beginning of it, once its
// training has succeeded. Each is looked for once: the answers are those of one submission. Not on the
// core's thread, and one thread at a time; both must outlive what is given.
std::function<Result<std::pair<std::string, Run>>(const std::string&)> ParentFinder(
    Core& core, StoreReader& reader);

}  // namespace longrun
