// longrun-trainer task FILE: one attempt, from its task file to its `final` record.
#pragma once

#include <string>

#include "worker/trainer/ending.h"
#include "worker/trainer/session.h"

namespace longrun::trainer {

// Writes the journal into the task's attempt_dir: attempt, started, ..., final. After an error, the
// last record is `failed` with the class and the place, unless the trainer was asked to stop. The
// caller must have blocked the stop signals (stop.h).
Ending RunTask(const std::string& path, RecordWatcher watcher = {});

}  // namespace longrun::trainer
