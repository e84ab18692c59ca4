// How the work of an evaluation task is divided among its numbers, for its progress: by the FLOPs
// of the model (sweeps/cost.h).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "model/config.h"
#include "model/evaluation/evaluation.h"

namespace longrun::trainer {

// The numbers that one call of the evaluation gives: those of one cell and one variant.
struct WorkPart {
  std::int64_t context_length = 0;
  std::int64_t longest_read = 0;  // tokens: the context length, or those of the longest prompt
  std::string variant = {};       // "": the model itself
  std::int64_t n_numbers = 1;
};

// The work of each part, which has a meaning only beside that of the others. `params`: resolved;
// null: not known, and then all numbers count the same, as they do in an evaluation whose cost is
// not known.
std::vector<double> WorkOf(const Evaluation& evaluation, const Json& params,
                           const DatasetShape& dataset, const ModelConfig& model,
                           std::span<const WorkPart> parts);

}  // namespace longrun::trainer
