// See evaluated_dataset.h.
#include "sweeps/evaluated_dataset.h"

#include <utility>

namespace longrun {
namespace {

constexpr const char* kDataset = "dataset";

bool HasDataset(const Json& evaluation) {
  if (!evaluation.is_object() || evaluation.empty() || !evaluation.begin()->is_object()) {
    return false;
  }
  const auto dataset = evaluation.begin()->find(kDataset);
  return dataset != evaluation.begin()->end() && dataset->is_object();
}

}  // namespace

std::optional<EvaluatedDataset> EvaluatedDatasetOf(const Json& evaluation) {
  if (!HasDataset(evaluation)) return std::nullopt;
  const Json& dataset = evaluation.begin()->at(kDataset);
  return EvaluatedDataset{.name = dataset.value("name", ""),
                          .digest = dataset.value("digest", ""),
                          .path = dataset.value("path", "")};
}

Json WithEvaluatedDataset(Json evaluation, const EvaluatedDataset& dataset) {
  Json& member = (*evaluation.begin())[kDataset];
  member = {{"digest", dataset.digest}, {"name", dataset.name}};
  if (!dataset.path.empty()) member["path"] = dataset.path;
  return evaluation;
}

Json WithoutEvaluatedDataset(Json evaluation) {
  if (HasDataset(evaluation)) evaluation.begin()->erase(kDataset);
  return evaluation;
}

std::string DigestOfText(const Json& evaluation, const std::string& run_digest) {
  const std::optional<EvaluatedDataset> dataset = EvaluatedDatasetOf(evaluation);
  return dataset ? dataset->digest : run_digest;
}

Json WithDigestOnly(Json evaluation) {
  if (const std::optional<EvaluatedDataset> dataset = EvaluatedDatasetOf(evaluation)) {
    (*evaluation.begin())[kDataset] = dataset->digest;
  }
  return evaluation;
}

}  // namespace longrun
