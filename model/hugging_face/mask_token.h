// mask_token_id of config.json: the id that replaces tokens hidden from a model that is not causal.
// For transformers this key changes nothing in a forward pass.
#pragma once

#include <cstdint>

#include "base/json.h"
#include "base/status.h"
#include "model/config.h"

namespace longrun {

// -1 if the file has no such key, or the model is causal. `model` is the model of the same file.
// kInvalidArgument if the value is not an id of this model.
Result<std::int64_t> MaskTokenOf(const Json& config, const ModelConfig& model);

}  // namespace longrun
