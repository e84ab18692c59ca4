// A short name of an evaluation for people and labels.
#pragma once

#include <string>

#include "base/json.h"

namespace longrun {

// The protocol of an evaluation ({name: parameters}, as in GetResults and the store) with its own
// parameters: "sliding_bos(stride=16)", "nonoverlap"; the evaluation's name if it has no protocol.
// Leaves out defaults, and split, baseline and lengths, which are shown elsewhere. Unless `whole`,
// it also leaves out the number of scored tokens (by default, it follows from the dataset) and the
// parameters of an evaluation without a protocol. With a dataset of its own and under an extension:
// "nonoverlap on books under pi(factor=4)". "" if the JSON is not an evaluation.
std::string EvaluationName(const Json& evaluation, bool whole);

}  // namespace longrun
