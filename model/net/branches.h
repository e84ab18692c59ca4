// Reads contexts once, and then what may follow each of them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/language_model.h"
#include "model/net/net.h"

namespace longrun {

// The most tokens whose keys and values are held of contexts, and again of what goes on from them:
// those of BranchKeyBytes (model/tokens_per_read.h). A function of shapes.
std::int64_t BranchTokensMax(const Net& net);

// LanguageModel::BranchNll, for contexts of one length. All tokens are known to the network, and
// all lengths fit it. No text may have more than BranchTokensMax tokens, nor may the contexts
// together.
BranchNlls NllOfBranches(Net& net, std::int32_t bos_id, std::span<const Branches> branches);

}  // namespace longrun
