// Reads contexts once, and then what may follow each of them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/language_model.h"
#include "model/net/net.h"

namespace longrun {

// LanguageModel::BranchNll, for contexts of one length: the tokens and the BOS. All tokens are
// known to the network, and all lengths fit it. Besides the keys and values of the contexts, it
// holds those of TokensPerRead tokens, or of one text if that is longer.
std::vector<std::vector<std::vector<float>>> NllOfBranches(Net& net, std::int32_t bos_id,
                                                           std::span<const Branches> branches);

}  // namespace longrun
