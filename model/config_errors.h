// What ModelConfig and TrainConfig (config.h) read and check, with every error in the place of the
// first: for people who write such JSON by hand.
#pragma once

#include "model/config.h"
#include "model/key_errors.h"

namespace longrun {

// As FromJson. What has an error keeps its default, a floating-point number is NaN: what CheckModel
// and CheckTrain say then of a path that had an error is that error again.
ModelConfig ReadModel(const Json& model, const Json& position, KeyErrors& errors);
TrainConfig ReadTrain(const Json& train, KeyErrors& errors);

// As Check. What rests on a value that is wrong itself is not told.
void CheckModel(const ModelConfig& model, KeyErrors& errors);
void CheckTrain(const TrainConfig& train, KeyErrors& errors);

// What model and objective demand of each other: a model that sees the next token cannot learn to
// predict it, and the mask token needs a row of the embedding.
void CheckObjective(const ModelConfig& model, const TrainConfig& train, KeyErrors& errors);

// Adds the errors of a "position" (PositionErrors). True if there were none.
bool CheckGivenPosition(const Json& given, KeyErrors& errors);

}  // namespace longrun
