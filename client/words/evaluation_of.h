// What tells the evaluations of a run apart.
#pragma once

#include <string>

#include "client/wire/messages.h"

namespace longrun::client {

// "perplexity nonoverlap validation at 64, 128"; "" for a training task.
std::string EvaluationOf(const v1::TaskInfo& task);

bool HasSeveralEvaluations(const v1::RunInfo& run);

}  // namespace longrun::client
