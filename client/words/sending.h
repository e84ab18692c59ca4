// Sends files to the coordinator, and then names them: as a model, as a dataset.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "client/words/progress_line.h"
#include "proto/local_artifact.h"

namespace longrun::client {

// Sends the files that the coordinator of `state` lacks.
Status SendFiles(const std::string& state, const std::vector<LocalArtifact>& files,
                 ProgressLine& line);

// Sends the files, then calls `name_them`. If that returns
// kFailedPrecondition, a file may have been removed from the store in the meantime; after
// kUnavailable, the coordinator may have started again. Then both are repeated a few times, so
// `name_them` must be safe to repeat.
Status SendAndName(const std::string& state, const std::vector<LocalArtifact>& files,
                   ProgressLine& line, const std::function<Status()>& name_them);

}  // namespace longrun::client
