// A short name of an evaluation for people and labels.
#pragma once

#include <string>

#include "base/json.h"

namespace longrun {

// The protocol of an evaluation ({name: parameters}, as GetResults and the store have it) with its own
// parameters: "sliding_bos(stride=16)", "nonoverlap"; the evaluation's name where it has no protocol.
// Left out are split, baseline and lengths, which stand elsewhere, what has its default, and unless
// `whole` the number of tokens scored, which follows from the dataset where nobody gave it, and the
// parameters of what has no protocol. "" for what is no evaluation.
std::string EvaluationName(const Json& evaluation, bool whole);

}  // namespace longrun
