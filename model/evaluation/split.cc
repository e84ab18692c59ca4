#include "model/evaluation/split.h"

#include "base/str.h"

namespace longrun {

std::string NoSplit(std::string_view dataset, const std::vector<std::string>& names,
                    std::string_view split) {
  return Str("dataset \"", dataset, "\" has no split ", split, "; it has ", Join(names, ", "),
             " (to make a dataset with split ", split, ", use `longrun data import --", split,
             " FILE`, or the key split.", split, " in a file for `longrun data prepare`)");
}

std::optional<ParamError> CheckSplit(const DatasetShape& dataset, const std::string& split) {
  if (dataset.split_tokens.contains(split)) return std::nullopt;
  std::vector<std::string> names;
  names.reserve(dataset.split_tokens.size());
  for (const auto& [name, n] : dataset.split_tokens) names.push_back(name);
  return ParamError{"split", NoSplit(dataset.name, names, split)};
}

}  // namespace longrun
