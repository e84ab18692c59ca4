// The speed and memory of a model at a context length: rows tokens_per_s and peak_bytes with the
// variants train_step, forward and generate. The numbers belong to the machine that measured them,
// recorded in the row's extra.machine.
#pragma once

#include "model/evaluation/evaluation.h"

namespace longrun {

const Evaluation& ThroughputEvaluation();

}  // namespace longrun
