#include "model/evaluation/nll_row.h"

#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "base/str.h"
#include "model/evaluation/params.h"
#include "model/evaluation/text_error.h"

namespace longrun {

Json EmptyRow(std::string_view metric, const EvaluationRequest& request) {
  Json extra = Json::object();
  if (PrecisionOf(request.params) != Precision::kFp32) {
    extra["precision"] = PrecisionOf(request.params);
    if (request.machine.contains("bf16")) extra["bf16"] = request.machine.at("bf16");
  }
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
          {"extra", std::move(extra)}};
}

Json EmptyTokenRow(std::string_view metric, const EvaluationRequest& request,
                   std::string_view split) {
  Json row = EmptyRow(metric, request);
  row["split"] = split;
  row["averaging"] = "token";
  return row;
}

namespace {

// Differences between models are taken block by block from these means. Seven digits after the
// point are finer than any error of a mean, and a third as long as all digits.
Json BlocksJson(const std::vector<ClusterSum>& blocks) {
  constexpr double kDigits = 1e7;
  Json begin = Json::array(), n = Json::array(), nll = Json::array();
  for (const ClusterSum& block : blocks) {
    begin.push_back(block.id);
    n.push_back(block.n);
    nll.push_back(std::round(block.nll_sum / static_cast<double>(block.n) * kDigits) / kDigits);
  }
  return {{"begin", std::move(begin)}, {"n", std::move(n)}, {"nll", std::move(nll)}};
}

}  // namespace

void FillNllRow(Json& row, const Score& score) {
  row["n"] = score.n;
  if (score.n_non_finite > 0) {
    row["status"] = "non_finite";
    row["extra"]["non_finite"] = score.n_non_finite;
    return;
  }
  const TextError error = TextErrorOf(score);
  row["value"] = score.MeanNll();
  row["se"] = error.se ? Json(*error.se) : Json();
  row["nll_sum"] = score.nll_sum;
  row["bytes"] = score.bytes;
  row["extra"]["clusters"] = error.clusters;
  row["extra"]["n_clusters"] = error.n_clusters;
  if (error.se) row["extra"]["df"] = error.df;
  const std::vector<ClusterSum> blocks = TextBlocks(score);
  if (blocks.size() > 1) row["extra"]["blocks"] = BlocksJson(blocks);
}

bool LacksTextError(const Json& row) {
  if (!row.is_object() || row.value("status", Json()) != "ok") return false;
  const Json metric = row.value("metric", Json());
  if (metric != "nll" && metric != "pseudo_nll") return false;
  const Json extra = row.value("extra", Json());
  if (!extra.is_object()) return true;
  const auto buckets = extra.find("buckets");
  if (buckets != extra.end() && buckets->is_object() && !buckets->contains("blocks")) return true;
  if (extra.contains("blocks")) return false;
  // A text of a single block has no means by block.
  return extra.value("clusters", Json()) != "block" || extra.value("n_clusters", Json()) != 1;
}

std::string NllArtifactName(std::string_view what, std::string_view metric,
                            const EvaluationRequest& request, std::string_view split) {
  return Str(what, "-", metric, "-", split, "-", request.context_length,
             request.variant.empty() ? "" : "-", request.variant, ".csv");
}

void AddTextSums(EvaluationOutput& output, std::string_view metric,
                 const EvaluationRequest& request, std::string_view split, const Score& score) {
  const auto add = [&](std::string_view what, std::string csv, std::span<const ClusterSum> sums,
                       std::int64_t tokens_of_id) {
    for (const ClusterSum& sum : sums) {
      csv += Str(sum.id * tokens_of_id, ",", sum.n, ",", sum.nll_sum, ",", sum.bytes, "\n");
    }
    output.artifacts.push_back(
        {.name = NllArtifactName(what, metric, request, split), .bytes = std::move(csv)});
  };
  add("documents", "doc,n,nll_sum,bytes\n", score.documents, 1);
  add("blocks", "begin,n,nll_sum,bytes\n", score.blocks, score.block_tokens);
}

std::string_view StatusOfModelError(Code code) {
  if (code == Code::kOutOfRange) return "not_applicable";  // past the end of a position table
  if (code == Code::kResourceExhausted) return "out_of_memory";
  return "";
}

}  // namespace longrun
