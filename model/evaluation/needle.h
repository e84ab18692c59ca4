// How well a model finds a number by its depth in a long text (docs/evaluation.md). needle.cc
// opens with the method.
#pragma once

#include "model/evaluation/evaluation.h"

namespace longrun {

const Evaluation& NeedleEvaluation();

}  // namespace longrun
