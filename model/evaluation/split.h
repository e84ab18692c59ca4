// Checks the split of a dataset that an evaluation names, before any token is read.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/evaluation/evaluation.h"

namespace longrun {

// The message, with the remedy, for a split that a dataset with these splits does not have.
std::string NoSplit(std::string_view dataset, const std::vector<std::string>& names,
                    std::string_view split);

// The error of the parameter `split` if the dataset has no such split.
std::optional<ParamError> CheckSplit(const DatasetShape& dataset, const std::string& split);

}  // namespace longrun
