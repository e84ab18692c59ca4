// The row that every evaluation begins with, and what it says where the model cannot serve a length; and
// what the evaluations that sum NLLs over the tokens of a split share: numbers and artifacts.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "model/evaluation/evaluation.h"
#include "model/evaluation/window.h"

namespace longrun {

// The clusters over which the standard error is taken: documents when at least 10 have scored
// tokens, else windows. (Over the one to three documents of a small corpus an estimate of
// spread says nothing.)
inline constexpr std::size_t kDocumentClustersMin = 10;

// A row of `metric` without a number. Split, protocol and averaging are null: not every evaluation has
// them.
Json EmptyRow(std::string_view metric, const EvaluationRequest& request);
// The same of a mean over tokens of a split.
Json EmptyTokenRow(std::string_view metric, const EvaluationRequest& request,
                   std::string_view split);
// The numbers of a mean NLL, or the status non_finite.
void FillNllRow(Json& row, const Score& score);

// "documents-nll-validation-1024-unigram.csv"
std::string NllArtifactName(std::string_view what, std::string_view metric,
                            const EvaluationRequest& request, std::string_view split);
// doc,n,nll_sum,bytes: a line for each document with scored tokens.
EvaluationArtifact DocumentSums(std::string name, const Score& score);

// What a model cannot do at this length is a result, shown in the table as such; "" where the error
// is no property of the model.
std::string_view StatusOfModelError(Code code);

}  // namespace longrun
