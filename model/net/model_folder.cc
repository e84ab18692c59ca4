#include "model/net/model_folder.h"

#include <utility>

#include "model/hugging_face/folder.h"
#include "model/net/tensor_file.h"

namespace longrun {

Result<ModelFolder> LoadModelFolder(const std::string& folder) {
  ASSIGN_OR_RETURN(WeightFolder opened, OpenWeightFolder(folder));
  ModelFolder loaded = {.config = std::move(opened.config), .parameters = {}};
  for (const auto& [name, stored] : opened.tensors) loaded.parameters[name] = ToTensor(*stored);
  return loaded;
}

}  // namespace longrun
