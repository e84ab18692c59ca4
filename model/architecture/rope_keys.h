// The keys of config.json for rotary positions: the base, the share of the channels, and the
// scaling for texts beyond the model's length. The scaling has two spellings: rope_scaling, and
// rope_parameters (transformers 5), which holds base and share as well.
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
  std::string_view other_base = "";  // transformers writes it beside `base`, and ignores it alone
  std::string_view partial = "partial_rotary_factor";
  std::string_view other_partial = "";
  double partial_where_absent = 1.0;
  bool may_be_partial = false;              // else transformers rotates all channels, or fails
  std::int64_t length_where_absent = 2048;  // max_position_embeddings
};

// Sets net.model.position (ReadPosition of what the keys describe) and net.extension (the scaling
// that they ask for).
Status ReadRope(const ConfigReader& read, const RopeSpelling& spelling, NetConfig& net);

// Refuses a "yarn" that may be PoSE's: without an original length, or of a Llama that does not say
// "finetuned". Such files mean two different things and do not say which, so the person who imports
// one must say. Models imported earlier are read as in the paper.
Status CheckYarnIsTold(const Json& config);

// The inverse of ReadRope, for a model whose position method is rope; does nothing for others.
void WriteRope(const NetConfig& net, const RopeSpelling& spelling, Json& config);

}  // namespace longrun
