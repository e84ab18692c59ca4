// A dataset's split, as evaluations that name one check it before a token is read.
#pragma once

#include <optional>
#include <string>

#include "model/evaluation/evaluation.h"

namespace longrun {

// The error of the parameter `split` when the dataset has none of that name.
std::optional<ParamError> CheckSplit(const DatasetShape& dataset, const std::string& split);

}  // namespace longrun
