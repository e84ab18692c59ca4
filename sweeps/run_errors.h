// What a run's JSON (run.h) reads and checks, with every error instead of only the first.
#pragma once

#include "model/key_errors.h"
#include "sweeps/run.h"

namespace longrun {

// As Run::FromJson. If there are errors, the run that comes back must not be carried out.
Run ReadRun(const Json& json, KeyErrors& errors);

// What a stored run may have, and no training can carry out: a validation of less than one window.
void CheckValidation(const TrainConfig& train, KeyErrors& errors);

}  // namespace longrun
