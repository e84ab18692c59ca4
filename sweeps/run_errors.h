// Reads and checks a run's JSON (run.h), and reports every error instead of only the first.
#pragma once

#include "model/key_errors.h"
#include "sweeps/run.h"

namespace longrun {

// Like Run::FromJson. If there are errors, the returned run must not be executed.
Run ReadRun(const Json& json, KeyErrors& errors);

// Refuses what a stored run may have but no training can do: a validation of less than one window.
void CheckValidation(const TrainConfig& train, KeyErrors& errors);

}  // namespace longrun
