#include "model/evaluation/split.h"

#include <vector>

#include "base/str.h"

namespace longrun {

std::optional<ParamError> CheckSplit(const DatasetShape& dataset, const std::string& split) {
  if (dataset.split_tokens.contains(split)) return std::nullopt;
  std::vector<std::string> names;
  names.reserve(dataset.split_tokens.size());
  for (const auto& [name, n] : dataset.split_tokens) names.push_back(name);
  return ParamError{"split", Str("dataset \"", dataset.name, "\" has no split ", split,
                                 "; there is ", Join(names, ", "))};
}

}  // namespace longrun
