// The network that a task begins with, where it does not begin with random weights: a checkpoint of the
// run, or the imported model that the run starts from.
#pragma once

#include <string>

#include "base/status.h"
#include "model/net/parameters.h"
#include "model/net/transformer.h"
#include "sweeps/task.h"

namespace longrun {

// What a checkpoint of the run says of its network. What an imported model says beside its shape (how
// rotary positions are extended, GPT-2's switches of the scale) holds in all that comes from it.
// kDataLoss for a checkpoint of another model.
Result<NetConfig> ConfigOfRun(const NetConfig& stored, const Run& run, const std::string& folder);

struct StartWeights {
  NetConfig config;
  ParameterMap parameters;
};

// The weights of an imported model as the run has them: its body as it is; what its position method
// learned, where the run has that method; else new, by the run's seed, as in random weights.
Result<StartWeights> LoadImported(const CheckpointRef& init, const Run& run);

}  // namespace longrun
