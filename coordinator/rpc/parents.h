// The runs that the runs of a sweep continue, or start from.
#pragma once

#include <functional>
#include <string>

#include "coordinator/core.h"
#include "coordinator/store/reader.h"
#include "longrun/v1/sweeps.pb.h"
#include "sweeps/sweep.h"

namespace longrun::coordinator {

// For DatasetCatalogue::find_run: finds a run by its key or an unambiguous beginning of it, if its
// training has succeeded. Each run is looked up only once, so the function is for one submission.
// Not on the core's thread, and one thread at a time; `core` and `reader` must outlive the returned
// function.
std::function<Result<KnownRun>(const std::string&)> ParentFinder(Core& core, StoreReader& reader);

// Fills `ancestors` of an answer that has its runs.
Status FillAncestors(StoreReader& reader, v1::GetResultsResponse* response);

}  // namespace longrun::coordinator
