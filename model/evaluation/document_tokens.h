// Finds how much of a split has a given number of scored tokens, for protocols that score every
// token of the documents but not the end-of-text tokens between them.
#pragma once

#include <optional>

#include "base/json.h"
#include "model/evaluation/evaluation.h"

namespace longrun {

// For Protocol::fit_score_tokens: `params` has a score_tokens of more than 0 and an existing split.
std::optional<ParamError> FitDocumentTokens(const DatasetShape& dataset, Json& params);

}  // namespace longrun
