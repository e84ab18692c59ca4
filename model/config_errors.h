// Reads and checks ModelConfig and TrainConfig (config.h), and reports every error instead of only
// the first: for people who write such JSON by hand.
#pragma once

#include "model/config.h"
#include "model/key_errors.h"

namespace longrun {

// Like FromJson. A member with an error keeps its default; a floating-point number becomes NaN. If
// CheckModel or CheckTrain then reports a path that already had an error,
// it is the same error again.
ModelConfig ReadModel(const Json& model, const Json& position, KeyErrors& errors);
TrainConfig ReadTrain(const Json& train, KeyErrors& errors);

// Like Check, but does not report consequences of a value that is itself wrong.
void CheckModel(const ModelConfig& model, KeyErrors& errors);
void CheckTrain(const TrainConfig& train, KeyErrors& errors);

// Checks the demands of model and objective on each other: a model that sees the next token cannot
// learn to predict it, and the mask token needs a row of the embedding.
void CheckObjective(const ModelConfig& model, const TrainConfig& train, KeyErrors& errors);

// Adds the errors of a "position" (PositionErrors). Returns true if there are none.
bool CheckGivenPosition(const Json& given, KeyErrors& errors);

}  // namespace longrun
