// A model as a Hugging Face folder: config.json (config_file.h), and model.safetensors or its
// shards (weight_files.h), with the names and shapes of transformers. Torch-free: headers are
// checked, tensors are views into the mapped files; model/net/model_folder.h makes
// tensors from them.
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
  // Exactly the tensors of ParametersOf(config.model), by name and in their shapes;
  // views into `files`.
  std::map<std::string, const StoredTensor*> tensors;
};

// Errors name tensors that are missing, surplus, of a wrong shape or not of a floating-point type.
// Names without "transformer." or "model." (a saved base model), buffers of masks and tables, and a
// tied head's weight that equals the embedding or replaces it are accepted.
Result<WeightFolder> OpenWeightFolder(const std::string& folder);

}  // namespace longrun
