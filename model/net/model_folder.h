// A model as a Hugging Face folder: config.json, whose model_type is one of ours
// (model/architecture/), and model.safetensors or its shards (weight_files.h), under the names and
// shapes of transformers, plus two keys of ours:
//
//   "position": {"method": "cable", ...}   absent: the architecture's own (gpt2: learned, else rope)
//   "causal":   true                       the default
//
// Every key of config.json that changes the mathematics is honoured or refused by name; keys known
// to change nothing at inference are passed over; any other key is refused by name, since nobody
// knows what it would have changed. A missing key has transformers' default.
#pragma once

#include <string>

#include "base/json.h"
#include "base/status.h"
#include "model/net/parameters.h"
#include "model/net/transformer.h"

namespace longrun {

// kInvalidArgument (a key, a value), kUnimplemented (what transformers could do and we do not).
Result<NetConfig> ParseModelConfig(const Json& config);
// The inverse, complete: reading it gives the same NetConfig.
Json ModelConfigJson(const NetConfig& config);

struct ModelFolder {
  NetConfig config;
  ParameterMap parameters;  // on the CPU, in the types of the file
};

// Tensors that are missing, surplus or of a wrong shape are named. Accepted beside ours: names
// without "transformer." or "model." (a saved base model), buffers of masks and tables, a tied head's
// weight when it equals the embedding, or instead of it.
Result<ModelFolder> LoadModelFolder(const std::string& folder);

}  // namespace longrun
