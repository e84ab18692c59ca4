// What the architectures that spell their shape as GPT-2 does share: gpt2, gptj.
#pragma once

#include <span>
#include <string_view>

#include "base/json.h"
#include "model/architecture/architecture.h"

namespace longrun {

std::span<const FileWord> Gpt2Words();
// CommonConfigJson, the shape (n_embd, n_layer, n_head, n_inner), activation, epsilon, and no dropout.
Json Gpt2Json(const ModelConfig& model, std::string_view class_name);

}  // namespace longrun
