#include "model/hugging_face/mask_token.h"

#include "base/str.h"

namespace longrun {

Result<std::int64_t> MaskTokenOf(const Json& config, const ModelConfig& model) {
  const bool is_said = config.contains("mask_token_id") && !config["mask_token_id"].is_null();
  if (model.causal || !is_said) return -1;
  ASSIGN_OR_RETURN(const std::int64_t id, GetInt(config, "mask_token_id", "config.json"));
  if (id >= 0 && id < model.vocab_size) return id;
  return Status(Code::kInvalidArgument,
                Str("config.json: mask_token_id: expected one of the ids 0 to ",
                    model.vocab_size - 1, ", found ", id));
}

}  // namespace longrun
