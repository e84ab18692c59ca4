// The files that a sweep's evaluations name (model/evaluation/input_file.h), in STATE/files. A
// client on this machine has put them there; one on another machine has sent them to the artifact
// store.
#pragma once

#include <string>

#include "base/status.h"
#include "coordinator/rpc/call.h"
#include "sweeps/sweep.h"

namespace longrun::coordinator {

// Takes those that STATE/files lacks from the artifact store, after checking digest and content.
// kNotFound if a file is in neither.
Status KeepNamedFiles(CoordinatorParts& parts, const Sweep& sweep);

}  // namespace longrun::coordinator
