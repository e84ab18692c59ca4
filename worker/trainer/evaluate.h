// Evaluation: delivers the rows of a task, one for each expected cell.
#pragma once

#include "base/status.h"
#include "model/data/dataset.h"
#include "worker/trainer/machine.h"
#include "worker/trainer/session.h"

namespace longrun::trainer {

// Scores the task's init checkpoint in fp32, whatever precision it was trained in. Each row is a
// `result` record with its cell, written after the artifacts on which it rests. kCancelled: the
// trainer was asked to stop.
Status Evaluate(Session& session, const Dataset& dataset, const Machine& machine);

}  // namespace longrun::trainer
