// A model as a Hugging Face folder: config.json (config_file.h), and model.safetensors or its shards
// (weight_files.h), under the names and shapes of transformers. Torch-free: headers are proven, tensors
// are views into the mapped files; model/net/model_folder.h makes tensors of them.
#pragma once

#include <map>
#include <string>

#include "base/status.h"
#include "model/architecture/architecture.h"
#include "model/hugging_face/weight_files.h"

namespace longrun {

struct WeightFolder {
  NetConfig config;
  WeightFiles files;
  // Exactly the model's (ParametersOf), by its names and in their shapes; views into `files`.
  std::map<std::string, const StoredTensor*> tensors;
};

// Tensors that are missing, surplus, of a wrong shape or no floating point are named. Accepted beside
// ours: names without "transformer." or "model." (a saved base model), buffers of masks and tables, a
// tied head's weight when it equals the embedding, or instead of it.
Result<WeightFolder> OpenWeightFolder(const std::string& folder);

}  // namespace longrun
