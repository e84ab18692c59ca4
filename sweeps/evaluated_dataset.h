// An evaluation that reads another dataset than the one its run was trained on: {name: parameters}
// with the parameter "dataset": {"digest", "name"}. Without it, the evaluation reads the run's own.
//
// Evaluations are stored and sent in this form. Keys of cells and tasks have only the digest, so
// that a renamed dataset gives the same cells. In task files, the dataset is a separate member, and
// has its folder, too.
#pragma once

#include <optional>
#include <string>

#include "base/json.h"

namespace longrun {

struct EvaluatedDataset {
  std::string name;       // when the evaluation was first submitted
  std::string digest;     // 64 hex digits
  std::string path = {};  // of a task: its folder on the machine; "" otherwise

  bool operator==(const EvaluatedDataset&) const = default;
};

// nullopt: the run's own.
std::optional<EvaluatedDataset> EvaluatedDatasetOf(const Json& evaluation);
Json WithEvaluatedDataset(Json evaluation, const EvaluatedDataset& dataset);
Json WithoutEvaluatedDataset(Json evaluation);
// Of the dataset whose text the evaluation of a run reads.
std::string DigestOfText(const Json& evaluation, const std::string& run_digest);
// The evaluation as keys have it: with the digest, but without the name.
Json WithDigestOnly(Json evaluation);

}  // namespace longrun
