// Tensors in safetensors files (model/safetensors.h).
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>

#include "base/status.h"
#include "model/safetensors.h"

namespace longrun {

// A copy on the CPU, in the stored type.
at::Tensor ToTensor(const StoredTensor& stored);

// Tensors may be on any device and have any strides; StoredType must have their type (LR_CHECK).
Result<WrittenFile> WriteTensors(const std::string& path,
                                 const std::map<std::string, at::Tensor>& tensors,
                                 const std::map<std::string, std::string>& metadata = {});

}  // namespace longrun
