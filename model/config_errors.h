// What ModelConfig and TrainConfig (config.h) read and check, with every error in the place of the
// first: for people who write such JSON by hand.
#pragma once

#include "base/error_list.h"
#include "model/config.h"

namespace longrun {

// As FromJson. What has an error keeps its default, a floating-point number is NaN: what CheckModel
// and CheckTrain say then of a path that had an error is that error again.
ModelConfig ReadModel(const Json& model, const Json& position, ErrorList& errors);
TrainConfig ReadTrain(const Json& train, ErrorList& errors);

// As Check. What rests on a value that is wrong itself is not told.
void CheckModel(const ModelConfig& model, ErrorList& errors);
void CheckTrain(const TrainConfig& train, ErrorList& errors);

}  // namespace longrun
