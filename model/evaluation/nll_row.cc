#include "model/evaluation/nll_row.h"

#include <optional>
#include <utility>
#include <vector>

#include "base/str.h"

namespace longrun {

Json EmptyRow(std::string_view metric, const EvaluationRequest& request) {
  return {{"metric", metric},
          {"context_length", request.context_length},
          {"split", nullptr},
          {"protocol", nullptr},
          {"averaging", nullptr},
          {"depth", nullptr},
          {"variant", request.variant.empty() ? Json() : Json(request.variant)},
          {"value", nullptr},
          {"se", nullptr},
          {"n", 0},
          {"nll_sum", nullptr},
          {"bytes", nullptr},
          {"status", "ok"},
          {"extra", Json::object()}};
}

Json EmptyTokenRow(std::string_view metric, const EvaluationRequest& request,
                   std::string_view split) {
  Json row = EmptyRow(metric, request);
  row["split"] = split;
  row["averaging"] = "token";
  return row;
}

void FillNllRow(Json& row, const Score& score) {
  row["n"] = score.n;
  if (score.n_non_finite > 0) {
    row["status"] = "non_finite";
    row["extra"]["non_finite"] = score.n_non_finite;
    return;
  }
  const bool by_document = score.documents.size() >= kDocumentClustersMin;
  const std::vector<ClusterSum>& clusters = by_document ? score.documents : score.windows;
  const std::optional<double> se = StandardError(clusters);
  row["value"] = score.MeanNll();
  row["se"] = se ? Json(*se) : Json();
  row["nll_sum"] = score.nll_sum;
  row["bytes"] = score.bytes;
  row["extra"]["clusters"] = by_document ? "document" : "window";
  row["extra"]["n_clusters"] = clusters.size();
}

std::string NllArtifactName(std::string_view what, std::string_view metric,
                            const EvaluationRequest& request, std::string_view split) {
  return Str(what, "-", metric, "-", split, "-", request.context_length,
             request.variant.empty() ? "" : "-", request.variant, ".csv");
}

EvaluationArtifact DocumentSums(std::string name, const Score& score) {
  std::string csv = "doc,n,nll_sum,bytes\n";
  for (const ClusterSum& sum : score.documents) {
    csv += Str(sum.id, ",", sum.n, ",", sum.nll_sum, ",", sum.bytes, "\n");
  }
  return {.name = std::move(name), .bytes = std::move(csv)};
}

std::string_view StatusOfModelError(Code code) {
  if (code == Code::kOutOfRange) return "not_applicable";  // past the end of a position table
  if (code == Code::kResourceExhausted) return "out_of_memory";
  return "";
}

}  // namespace longrun
