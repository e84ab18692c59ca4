// Shared by the architectures whose config.json describes the shape in GPT-2's words: gpt2, gptj.
#pragma once

#include <span>
#include <string_view>

#include "base/json.h"
#include "model/architecture/architecture.h"

namespace longrun {

std::span<const FileWord> Gpt2Words();
// CommonConfigJson, the shape (n_embd, n_layer, n_head, n_inner), activation,
// epsilon, and no dropout.
Json Gpt2Json(const ModelConfig& model, std::string_view class_name);

}  // namespace longrun
