// The initial row of every evaluation, and its status if the model cannot serve a length. Also the
// numbers and artifacts that evaluations which sum NLLs over the tokens of a split have in common.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "model/evaluation/evaluation.h"
#include "model/evaluation/window.h"

namespace longrun {

// The standard error is taken over documents if at least this many have scored tokens, else over
// windows. (Over the one to three documents of a small corpus an estimate of spread
// is meaningless.)
inline constexpr std::size_t kDocumentClustersMin = 10;

// A row of `metric` without a value. Split, protocol and averaging are null, since not every
// evaluation has them.
Json EmptyRow(std::string_view metric, const EvaluationRequest& request);
// The same, for a mean over tokens of a split.
Json EmptyTokenRow(std::string_view metric, const EvaluationRequest& request,
                   std::string_view split);
// Fills in the numbers of a mean NLL, or the status non_finite.
void FillNllRow(Json& row, const Score& score);

// "documents-nll-validation-1024-unigram.csv"
std::string NllArtifactName(std::string_view what, std::string_view metric,
                            const EvaluationRequest& request, std::string_view split);
// doc,n,nll_sum,bytes: a line for each document with scored tokens.
EvaluationArtifact DocumentSums(std::string name, const Score& score);

// The status of a row for something the model cannot do at this length, which tables show as a
// result; "" if the error is not a property of the model.
std::string_view StatusOfModelError(Code code);

}  // namespace longrun
