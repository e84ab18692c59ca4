// The network with which a task starts, unless it starts with random weights: a checkpoint of the
// run, or the imported model or the other run from which the run starts.
#pragma once

#include <string>

#include "base/status.h"
#include "model/net/net.h"
#include "model/net/parameters.h"
#include "sweeps/task.h"

namespace longrun::trainer {

// The network of a checkpoint of the run. If the run starts from an imported model, the network
// keeps properties of that model other than its shape (the extension of rotary positions, GPT-2's
// switches for the scale). kDataLoss for a checkpoint of another model.
Result<NetConfig> ConfigOfRun(const NetConfig& stored, const Run& run, const std::string& folder);

struct StartWeights {
  NetConfig config;
  ParameterMap parameters;
};

// The weights of an imported model for the run: its body unchanged; the tensors of its position
// method if the run has that method, else new ones from the run's seed, like random weights.
Result<StartWeights> LoadImported(const CheckpointRef& init, const Run& run);

// The weights of the final checkpoint of the run from which this one starts, and nothing else of
// it. An extension of its training gives way to the run's own, if that has one.
Result<StartWeights> LoadBase(const CheckpointRef& init, const Run& run);

// Sets a resolved extension (null: leaves the network as it is); config.json must not have one.
Status SetExtension(const Json& extension, NetConfig& net);

}  // namespace longrun::trainer
