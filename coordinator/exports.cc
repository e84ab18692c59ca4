// See exports.h.
#include "coordinator/exports.h"

#include <cmath>
#include <set>
#include <tuple>
#include <utility>

#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "sweeps/evaluation_name.h"
#include "sweeps/schema.h"
#include "sweeps/sweep.h"

namespace longrun::coordinator {
namespace {

struct Mean {
  double sum = 0;
  std::int64_t n = 0;
};

// The label of each row's evaluation. The number of scored tokens depends on the dataset, so it is
// part of the label only where evaluations on one dataset differ in nothing else.
std::vector<std::string> EvaluationLabels(const std::vector<ExportRow>& rows) {
  std::vector<std::pair<std::string, std::string>> names;  // without and with the tokens
  names.reserve(rows.size());
  std::map<std::tuple<std::string, std::string, std::string>, std::set<std::string>> alike;
  for (const ExportRow& row : rows) {
    const Result<Json> evaluation = ParseJson(row.evaluation_json);
    const Json json = evaluation.ok() ? *evaluation : Json();
    names.emplace_back(EvaluationName(json, false), EvaluationName(json, true));
    alike[{row.dataset, row.split, names.back().first}].insert(names.back().second);
  }
  std::vector<std::string> labels;
  labels.reserve(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto& [brief, whole] = names[i];
    const bool is_one = alike.at({rows[i].dataset, rows[i].split, brief}).size() == 1;
    labels.push_back(is_one ? brief : whole);
  }
  return labels;
}

}  // namespace

std::string MethodLabel(const std::string& axes_json) {
  const Result<Json> axes = ParseJson(axes_json);
  if (!axes.ok() || !axes->is_object() || !axes->contains("position")) return "";
  const Json& position = (*axes)["position"];
  if (position.is_string()) return position.get<std::string>();
  if (!position.is_object() || !position.contains("method")) return CanonicalJson(position);
  std::vector<std::string> parameters;
  for (const auto& [name, value] : position.items()) {
    if (name == "method") continue;
    parameters.push_back(
        Str(name, "=", value.is_string() ? value.get<std::string>() : CanonicalJson(value)));
  }
  const auto method = position["method"].get<std::string>();
  return parameters.empty() ? method : Str(method, "(", Join(parameters, ","), ")");
}

std::string StageLabel(const std::string& axes_json) {
  const Result<Json> axes = ParseJson(axes_json);
  if (!axes.ok() || !axes->is_object()) return "";
  const auto stage = axes->find(std::string(kStageAxis));
  return stage != axes->end() && stage->is_string() ? stage->get<std::string>() : "";
}

void ResultExports::Refresh(Metrics& metrics) {
  if (reader_ == nullptr) {
    auto opened = StoreReader::Open(database_path_);
    if (!opened.ok()) {
      return LogWarning("results_not_exported", {{"error", opened.status().message()}});
    }
    reader_ = std::move(opened).value();
  }
  const Result<std::int64_t> version = reader_->DataVersion();
  if (version.ok() && *version == version_) return;
  const Result<std::vector<ResultSeries>> series = Read();
  if (!version.ok() || !series.ok()) {
    LogWarning("results_not_exported",
               {{"error", (version.ok() ? series.status() : version.status()).message()}});
    return;
  }
  metrics.SetResults(*series);
  version_ = *version;
  const bool capped = series->size() > Metrics::kResultSeriesMax;
  if (capped && !capped_) {
    LogWarning("results_capped",
               {{"series", Str(series->size())},
                {"shown", Str(Metrics::kResultSeriesMax)},
                {"remedy", "remove `export: prometheus` from sweeps that are done"}});
  }
  capped_ = capped;
}

bool ResultExports::IsWanted(const ExportCandidate& sweep) {
  const auto [known, fresh] = wanted_.emplace(sweep.id, false);
  if (!fresh) return known->second;
  std::vector<std::pair<std::string, std::string>> overrides;
  if (const Result<Json> json = ParseJson(sweep.overrides_json); json.ok()) {
    for (const Json& one : *json) overrides.emplace_back(one.at(0), one.at(1));
  }
  known->second = SweepExport(sweep.yaml, overrides) == kExportPrometheus;
  return known->second;
}

Result<std::vector<ResultSeries>> ResultExports::Read() {
  ASSIGN_OR_RETURN(const std::vector<ExportCandidate> candidates, reader_->ExportCandidates());
  std::vector<ResultSeries> all;
  for (const ExportCandidate& sweep : candidates) {
    if (!IsWanted(sweep)) continue;
    (void)reader_->TakeDamaged();
    ASSIGN_OR_RETURN(const std::vector<ExportRow> rows, reader_->ExportRows(sweep.id));
    RETURN_IF_ERROR(reader_->NoteLostNumbers(sweep.id));
    RETURN_IF_ERROR(reader_->IsWhole(sweep.id).status());
    // Export nothing of a damaged sweep: a mean over fewer seeds would be another number.
    if (const auto damaged = reader_->TakeDamaged(); !damaged.empty()) {
      LogWarning("results_not_exported",
                 {{"sweep", sweep.name}, {"error", DamageText(damaged.front())}});
      continue;
    }
    // In the order of the labels; a baseline has no stage and no train length.
    using Key = std::tuple<bool, std::string, std::string, std::int64_t, std::int64_t, std::string,
                           std::string, std::string, std::string>;
    std::map<Key, Mean> means;
    const std::vector<std::string> evaluations = EvaluationLabels(rows);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const ExportRow& row = rows[i];
      const bool baseline = !row.variant.empty();
      Mean& mean =
          means[Key(row.metric == "pseudo_nll", baseline ? row.variant : MethodLabel(row.axes_json),
                    baseline ? "" : StageLabel(row.axes_json), baseline ? 0 : row.train_length,
                    row.context_length, row.dataset, row.split, row.protocol, evaluations[i])];
      mean.sum += row.nll;
      mean.n += 1;
    }
    for (const auto& [key, mean] : means) {
      const auto& [is_pseudo, method, stage, train_length, context_length, dataset, split, protocol,
                   evaluation] = key;
      all.push_back({.is_pseudo = is_pseudo,
                     .sweep = sweep.name,
                     .method = method,
                     .stage = stage,
                     .train_length = train_length == 0 ? "" : Str(train_length),
                     .context_length = Str(context_length),
                     .dataset = dataset,
                     .split = split,
                     .protocol = protocol,
                     .evaluation = evaluation,
                     .perplexity = std::exp(mean.sum / static_cast<double>(mean.n))});
    }
  }
  return all;
}

}  // namespace longrun::coordinator
