// The keys of config.json that describe rotary positions: base, share of the channels, and how texts
// beyond the model's length are read, in the two spellings rope_scaling and rope_parameters
// (transformers 5, which holds base and share as well).
#pragma once

#include <cstdint>
#include <string_view>

#include "base/json.h"
#include "base/status.h"
#include "model/architecture/architecture.h"
#include "model/architecture/config_keys.h"

namespace longrun {

struct RopeSpelling {
  std::string_view base = "rope_theta";
  std::string_view other_base = "";  // says the same beside it; counts for nothing alone
  std::string_view partial = "partial_rotary_factor";
  std::string_view other_partial = "";
  double partial_where_absent = 1.0;
  bool may_be_partial = false;              // else transformers turns all channels, or fails
  std::int64_t length_where_absent = 2048;  // max_position_embeddings
};

// net.model.position: ReadPosition of what the keys describe; net.extension: the scaling they ask for.
Status ReadRope(const ConfigReader& read, const RopeSpelling& spelling, NetConfig& net);

// Two kinds of published files mean different things by "yarn" where they name no original length, and nothing
// in them tells which: who imports one is asked. What was imported before is read as the paper has it.
Status CheckYarnIsTold(const Json& config);

// The inverse, of a model whose position method is rope; nothing for others.
void WriteRope(const NetConfig& net, const RopeSpelling& spelling, Json& config);

}  // namespace longrun
