// Training: the loop over optimiser steps of a run.
//
// Step t = 1, 2, ... takes the samples (t - 1) G .. t G - 1 of the data order (G sequences a step), in
// micro-batches whose gradients add up to the mean over the step. Nothing else carries over from one
// step to the next but the weights and the optimiser's moments, so a checkpoint {t, weights, moments}
// continues with the same bits.
#pragma once

#include "base/status.h"
#include "model/data/dataset.h"
#include "worker/trainer/machine.h"
#include "worker/trainer/session.h"

namespace longrun {

// Trains from the start, or from the task's resume checkpoint, to the last step; the final checkpoint
// is in the journal then. kAborted: NaN or infinity. kCancelled: asked to stop, and checkpointed.
Status Train(Session& session, const Dataset& dataset, const Machine& machine);

}  // namespace longrun
