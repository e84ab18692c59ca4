// Shared by the architectures with Llama's body: llama, mistral, qwen2.
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

// The defaults of transformers for absent keys.
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
// Reads everything except the biases, the window and the positions.
Status ReadLlamaShape(const ConfigReader& read, const LlamaDefaults& absent, ModelConfig& model);
// Reads pad_token_id: as in transformers, its row of the embedding has no gradient.
Status ReadPadding(const ConfigReader& read, std::int64_t absent, NetConfig& net);
// Reads sliding_window if it is not null: at least 1, since 0 would hide every key.
Result<std::int64_t> ReadWindowLength(const ConfigReader& read, std::int64_t absent);
Json LlamaJson(const NetConfig& net, std::string_view class_name);

}  // namespace longrun
