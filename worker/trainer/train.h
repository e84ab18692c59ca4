// Training: the loop over optimiser steps of a run.
//
// Step t = 1, 2, ... takes the samples (t - 1) G .. t G - 1 of the run's source (G sequences per
// step; model/sample_source/), in micro-batches. Their gradients add up to that of the mean loss
// over all targets of the step, however many each micro-batch has. These are the next tokens or,
// for a masked language model, the hidden tokens (model/data/masking.h). Only the weights and the
// optimiser's moments carry over from one step to the next, so a checkpoint {t, weights, moments}
// continues with the same bits.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "model/data/dataset.h"
#include "model/net/checkpoint.h"
#include "model/net/parameters.h"
#include "model/net/recorder.h"
#include "worker/trainer/machine.h"
#include "worker/trainer/session.h"

namespace longrun::trainer {

// The start of a training: random weights, those of an imported model, or the checkpoint from which
// the task resumes.
struct TrainStart {
  NetConfig config;
  std::optional<LoadedCheckpoint> resumed;  // its parameters are in `parameters`
  ParameterMap parameters;
  // ParametersSha256 of the run's first weights, even if they were on another machine; "" if its
  // checkpoint does not say (from a release before this was stored).
  std::string initial_weights;
};
Result<TrainStart> LoadStart(const TaskFile& task);

// What the host does while the device works, instead of waiting for it. On a CPU, which would take
// the time from the training, nothing. The results are the same.
struct Overlap {
  // How many steps may be queued whose results (loss and norm) are not read yet, while the host
  // queues another.
  std::size_t n_unread_max = 0;
  // Checkpoints, but for the last, are copied to the host's memory, and written from there while
  // the training goes on. One is written at a time, so a stop may wait for two. Its record comes
  // between two micro-batches after it is on the disk, so after the records of steps that were done
  // meanwhile.
  bool writes_behind = false;
  // Records passes and repeats them (model/net/recorded_passes.h); null: none are recorded.
  std::shared_ptr<Recorder> recorder = nullptr;
};
Overlap OverlapOf(const Machine& machine);

// Trains from `start` to the last step, and writes the final checkpoint and its journal record.
// kAborted: NaN or infinity. kCancelled: the trainer was asked to stop, and wrote a checkpoint.
Status Train(Session& session, const Dataset& dataset, const Machine& machine, TrainStart start,
             const Overlap& overlap);

}  // namespace longrun::trainer
