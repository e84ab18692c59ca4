// mask_token_id of config.json: what stands in the place of a token that is hidden from a model which is not
// causal. transformers has the key among those that change nothing in a forward pass.
#pragma once

#include <cstdint>

#include "base/json.h"
#include "base/status.h"
#include "model/config.h"

namespace longrun {

// -1 where the file does not say it, and for a causal model. kInvalidArgument for what is no id of
// `model`, which is the file's.
Result<std::int64_t> MaskTokenOf(const Json& config, const ModelConfig& model);

}  // namespace longrun
