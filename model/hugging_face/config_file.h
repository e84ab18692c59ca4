// config.json of a Hugging Face folder whose model_type is one of ours (model/architecture/), with
// two keys of our own:
//
//   "position": {"method": "cable", ...}   absent: the architecture's own (gpt2:
//                                          learned, others: rope)
//   "causal":   true                       the default
//
// Every key that changes the mathematics is used or refused by name; keys known to change nothing
// at inference are ignored; any other key is refused by name, since its effect is unknown. A
// missing key has transformers' default.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/status.h"
#include "model/architecture/architecture.h"

namespace longrun {

// The model_type that an export writes for a model that transformers does not have (export.h).
inline constexpr std::string_view kOurModelType = "longrun";

// kInvalidArgument (a key or a value), kUnimplemented (something that transformers
// supports and we do not).
Result<NetConfig> ParseModelConfig(const Json& config);
// The inverse, with every key: reading the result gives the same NetConfig.
Json ModelConfigJson(const NetConfig& config);

// The longest text for which the model was made, according to config.json: n_positions, n_ctx or
// max_position_embeddings; 0 if it has none of these.
std::int64_t TrainedLength(const Json& config);

// Reads FOLDER/config.json. kNotFound if there is none.
Result<Json> ReadConfigFile(const std::string& folder);

}  // namespace longrun
