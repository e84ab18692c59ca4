#include "model/evaluation/split.h"

#include "base/str.h"

namespace longrun {

std::string NoSplit(std::string_view dataset, const std::vector<std::string>& names,
                    std::string_view split) {
  return Str("dataset \"", dataset, "\" has no split ", split, "; there is ", Join(names, ", "),
             " (longrun data import --", split, " FILE, or split.", split,
             " of longrun data prepare, makes one that has it)");
}

std::optional<ParamError> CheckSplit(const DatasetShape& dataset, const std::string& split) {
  if (dataset.split_tokens.contains(split)) return std::nullopt;
  std::vector<std::string> names;
  names.reserve(dataset.split_tokens.size());
  for (const auto& [name, n] : dataset.split_tokens) names.push_back(name);
  return ParamError{"split", NoSplit(dataset.name, names, split)};
}

}  // namespace longrun
