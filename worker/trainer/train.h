// Training: the loop over optimiser steps of a run.
//
// Step t = 1, 2, ... takes the samples (t - 1) G .. t G - 1 of the data order (G sequences a step), in
// micro-batches whose gradients add up to the mean over the step: over all its tokens, or, of a masked
// language model, over those that are hidden (model/data/masking.h). Nothing else carries over from one
// step to the next but the weights and the optimiser's moments, so a checkpoint {t, weights, moments}
// continues with the same bits.
#pragma once

#include <optional>
#include <string>

#include "base/status.h"
#include "model/data/dataset.h"
#include "model/net/checkpoint.h"
#include "model/net/parameters.h"
#include "worker/trainer/machine.h"
#include "worker/trainer/session.h"

namespace longrun {

// Where a training begins: at random weights, at those of an imported model, or at the checkpoint that
// the task resumes from.
struct TrainStart {
  NetConfig config;
  std::optional<LoadedCheckpoint> resumed;  // its parameters lie in `parameters`
  ParameterMap parameters;
  // ParametersSha256 of the weights that the run began with, be it on another machine; "" where its
  // checkpoint does not say (of a release before this was kept).
  std::string initial_weights;
};
Result<TrainStart> LoadStart(const TaskFile& task);

// Trains from `start` to the last step; the final checkpoint is in the journal then. kAborted: NaN or infinity. kCancelled: asked to stop, and checkpointed.
Status Train(Session& session, const Dataset& dataset, const Machine& machine, TrainStart start);

}  // namespace longrun
