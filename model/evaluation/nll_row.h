// The initial row of every evaluation, and its status if the model cannot serve a length. Also the
// numbers and artifacts that evaluations which sum NLLs over the tokens of a split have in common.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "model/evaluation/evaluation.h"
#include "model/evaluation/window.h"

namespace longrun {

// A row of `metric` without a value. Split, protocol and averaging are null, since not every
// evaluation has them. One in bf16 or fp16 says so in `extra`: "precision", and in bf16 on a CPU
// "bf16", the instructions that its products take (model/instruction_set.h).
Json EmptyRow(std::string_view metric, const EvaluationRequest& request);
// The same, for a mean over tokens of a split.
Json EmptyTokenRow(std::string_view metric, const EvaluationRequest& request,
                   std::string_view split);
// Fills in the numbers of a mean NLL, or the status non_finite. `extra` describes the text error
// (text_error.h): "clusters", "n_clusters", "df", and, if there are two or more TextBlocks(),
// "blocks": {"begin":[..],"n":[..],"nll":[..]}, in nats per token.
void FillNllRow(Json& row, const Score& score);

// Whether a stored row has an NLL but lacks its means by block (by which comparisons are paired) or
// the means by block of its buckets. Rows of older versions lack them.
bool LacksTextError(const Json& row);

// "documents-nll-validation-1024-unigram.csv"
std::string NllArtifactName(std::string_view what, std::string_view metric,
                            const EvaluationRequest& request, std::string_view split);
// Adds the artifacts with the sums by place in the text, one line for each place with scored
// tokens:
//   documents-....csv   doc,n,nll_sum,bytes
//   blocks-....csv      begin,n,nll_sum,bytes; `begin`: the block's first token in the split. At
//                       most kStoredBlocksMax + 1 lines (text_error.h), so at most 20 KB
void AddTextSums(EvaluationOutput& output, std::string_view metric,
                 const EvaluationRequest& request, std::string_view split, const Score& score);

// The status of the row if the error says that the model cannot do something at this length; tables
// show this status as a result. "" if the error is not a property of the model.
std::string_view StatusOfModelError(Code code);

}  // namespace longrun
