// Multiple-choice questions: how often the answer that the model finds most likely
// is the right one.
#pragma once

#include "model/evaluation/evaluation.h"

namespace longrun {

const Evaluation& MultipleChoiceEvaluation();

}  // namespace longrun
