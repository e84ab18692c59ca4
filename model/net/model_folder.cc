#include "model/net/model_folder.h"

#include "model/net/tensor_file.h"

namespace longrun {

ModelFolder ToModelFolder(const WeightFolder& opened) {
  ModelFolder loaded = {.config = opened.config, .parameters = {}};
  for (const auto& [name, stored] : opened.tensors) loaded.parameters[name] = ToTensor(*stored);
  return loaded;
}

Result<ModelFolder> LoadModelFolder(const std::string& folder) {
  ASSIGN_OR_RETURN(const WeightFolder opened, OpenWeightFolder(folder));
  return ToModelFolder(opened);
}

}  // namespace longrun
