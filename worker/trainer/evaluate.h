// Evaluation: delivers the rows of a task, one for each expected cell.
#pragma once

#include "base/json.h"
#include "base/status.h"
#include "model/data/dataset.h"
#include "worker/trainer/machine.h"
#include "worker/trainer/session.h"

namespace longrun::trainer {

// Scores the task's init checkpoint in the evaluation's precision, whatever precision it was
// trained in. Each row is a `result` record with its cell, written after the artifacts on which it
// rests. `trained_on` is the run's dataset, whose tokens a baseline counts; `text` is the one that
// is read, often the same. `started` is the attempt's record of this kind: earlier results count if
// theirs agrees. kCancelled: the trainer was asked to stop.
Status Evaluate(Session& session, const Dataset& trained_on, const Dataset& text,
                const Machine& machine, const Json& started);

}  // namespace longrun::trainer
