// config.json of a Hugging Face folder, whose model_type is one of ours (model/architecture/), plus two
// keys of ours:
//
//   "position": {"method": "cable", ...}   absent: the architecture's own (gpt2: learned, else rope)
//   "causal":   true                       the default
//
// Every key that changes the mathematics is honoured or refused by name; keys known to change nothing
// at inference are passed over; any other key is refused by name, since nobody knows what it would
// have changed. A missing key has transformers' default.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/status.h"
#include "model/architecture/architecture.h"

namespace longrun {

// What an export writes for a model that transformers does not have (export.h).
inline constexpr std::string_view kOurModelType = "longrun";

// kInvalidArgument (a key, a value), kUnimplemented (what transformers could do and we do not).
Result<NetConfig> ParseModelConfig(const Json& config);
// The inverse, complete: reading it gives the same NetConfig.
Json ModelConfigJson(const NetConfig& config);

// The longest text that the model was made for, as config.json says: n_positions, n_ctx or
// max_position_embeddings; 0 where it does not say.
std::int64_t TrainedLength(const Json& config);

// FOLDER/config.json. kNotFound where there is none.
Result<Json> ReadConfigFile(const std::string& folder);

}  // namespace longrun
