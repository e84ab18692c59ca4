// What the architectures with Llama's body share: llama, mistral, qwen2.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

#include "base/json.h"
#include "base/status.h"
#include "model/architecture/architecture.h"
#include "model/architecture/config_keys.h"

namespace longrun {

// What transformers takes for an absent key.
struct LlamaDefaults {
  std::int64_t vocab_size = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t num_key_value_heads = 0;  // 0: num_attention_heads
};

void SetLlamaBody(ModelConfig& model);
TensorNames LlamaNames();
std::span<const FileWord> LlamaWords();
// CheckConfigKeys with the keys that all three read, and `more`.
Status CheckLlamaKeys(const Json& config, std::initializer_list<std::string_view> more);
// All but the biases, the window and the positions.
Status ReadLlamaShape(const ConfigReader& read, const LlamaDefaults& absent, ModelConfig& model);
// pad_token_id: its row of the embedding has no gradient, as transformers makes it.
Status ReadPadding(const ConfigReader& read, std::int64_t absent, NetConfig& net);
// sliding_window where it is no null: at least 1, since 0 would hide every key.
Result<std::int64_t> ReadWindowLength(const ConfigReader& read, std::int64_t absent);
Json LlamaJson(const NetConfig& net, std::string_view class_name);

}  // namespace longrun
