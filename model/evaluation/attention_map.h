// The averaged attention of a trained model over the first L tokens of chosen documents
// (attention_map.cc opens with the formulas).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "model/evaluation/evaluation.h"

namespace longrun {

const Evaluation& AttentionMapEvaluation();

// The name of the artifact for one document at one length:
//   attention-[logits-]SPLIT-dDOCUMENT-LENGTH[-TAG].safetensors
// TAG: 8 hex digits of a hash of the parameters layers, heads, pool and pool_by, the extension and
// the dataset, if any of them differs from its default.
struct AttentionMapName {
  std::string values = "probabilities";
  std::string split = {};
  std::int64_t document = 0;
  std::int64_t context_length = 0;
  std::string tag = {};

  std::string Text() const;
  static std::optional<AttentionMapName> Parse(std::string_view text);  // nullopt: not such a name
};

}  // namespace longrun
