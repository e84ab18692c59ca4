// A Hugging Face folder (model/hugging_face/folder.h) as tensors.
#pragma once

#include <string>

#include "base/status.h"
#include "model/hugging_face/config_file.h"
#include "model/hugging_face/folder.h"
#include "model/net/net.h"
#include "model/net/parameters.h"

namespace longrun {

struct ModelFolder {
  NetConfig config;
  ParameterMap parameters;  // on the CPU, in the types of the file
};

Result<ModelFolder> LoadModelFolder(const std::string& folder);
// Copies the tensors, so `opened` need not outlive the result.
ModelFolder ToModelFolder(const WeightFolder& opened);

}  // namespace longrun
