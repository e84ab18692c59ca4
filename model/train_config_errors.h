// Reads and checks TrainConfig (train_config.h), and reports every error instead of only the first:
// for people who write such JSON by hand.
#pragma once

#include "model/config.h"
#include "model/key_errors.h"
#include "model/train_config.h"

namespace longrun {

// Like FromJson. A member with an error keeps its default; a floating-point number becomes NaN. If
// CheckTrain then reports a key that already has an error, it repeats that error.
TrainConfig ReadTrain(const Json& train, KeyErrors& errors);

// Like Check, but does not report consequences of a value that is itself wrong. `read` has the
// errors of ReadTrain: those about unknown words are reported again, in the order of the settings.
void CheckTrain(const TrainConfig& train, KeyErrors& errors, const KeyErrors& read = {});

// Checks that model and recipe fit each other: a model that sees the next token cannot learn to
// predict it, the mask token needs a row of the embedding, positions that are not plain need a
// model that only rotates, and keys are skipped only with a one-sided bias.
void CheckModelAndTrain(const ModelConfig& model, const TrainConfig& train, KeyErrors& errors);

}  // namespace longrun
