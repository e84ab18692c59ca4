// Whether a model finds a number that is hidden in a long text (docs/evaluation.md). passkey.cc
// opens with the protocols.
#pragma once

#include "model/evaluation/evaluation.h"

namespace longrun {

const Evaluation& PasskeyEvaluation();

}  // namespace longrun
