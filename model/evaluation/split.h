// A dataset's split, as evaluations that name one check it before a token is read.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/evaluation/evaluation.h"

namespace longrun {

// What is said of a dataset of these splits where another one is asked for, with the remedy.
std::string NoSplit(std::string_view dataset, const std::vector<std::string>& names,
                    std::string_view split);

// The error of the parameter `split` when the dataset has none of that name.
std::optional<ParamError> CheckSplit(const DatasetShape& dataset, const std::string& split);

}  // namespace longrun
