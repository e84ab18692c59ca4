#include "client/tables/sweep_results.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/str.h"
#include "client/words/render.h"
#include "sweeps/evaluated_dataset.h"

namespace longrun::client {

namespace {

void FindAncestries(const v1::GetResultsResponse& answer, std::vector<ResultRun>& runs) {
  const auto starts_anew = [](const ResultRun& run) { return !HasAncestor(run.resolved); };
  if (std::ranges::all_of(runs, starts_anew)) return;
  std::vector<ResultRun> ancestors;
  for (const v1::RunInfo& run : answer.ancestors()) ancestors.push_back(ReadResultRun(run));
  AncestryFinder finder;
  for (const std::vector<ResultRun>* list : {&std::as_const(ancestors), &std::as_const(runs)}) {
    for (const ResultRun& run : *list) finder.Know(run.run_key, run.resolved);
  }
  for (ResultRun& run : runs) {
    if (HasAncestor(run.resolved)) run.ancestry = finder.Of(run.resolved);
  }
}

}  // namespace

ResultRun ReadResultRun(const v1::RunInfo& run) {
  return {.run_key = run.run_key(),
          .dataset = run.dataset(),
          .axes = JsonIn(run.axes_json()),
          .resolved = JsonIn(run.run_json())};
}

SweepResults ReadResults(std::string name, const v1::GetResultsResponse& answer) {
  SweepResults results{.name = std::move(name),
                       .state = answer.info().state(),
                       .axes = {answer.axes().begin(), answer.axes().end()}};
  results.runs.reserve(static_cast<std::size_t>(answer.runs_size()));
  for (const v1::RunInfo& run : answer.runs()) results.runs.push_back(ReadResultRun(run));
  FindAncestries(answer, results.runs);
  results.rows.reserve(static_cast<std::size_t>(answer.rows_size()));
  for (const v1::ResultRow& row : answer.rows()) {
    RowBody body = ReadBody(JsonIn(row.body_json()));
    if (body.metric.empty() || body.status.empty()) continue;
    results.rows.push_back({.run_key = row.run_key(),
                            .cell = row.cell(),
                            .attempt = row.attempt(),
                            .body = std::move(body),
                            .evaluation = JsonIn(row.evaluation_json())});
  }
  TellDatasetsApart({&results, 1});
  return results;
}

std::string_view DatasetName(std::string_view dataset) {
  return dataset.substr(0, dataset.find('@'));
}

std::string DatasetDigest(const ResultRun& run) {
  const auto dataset = run.resolved.find("dataset");
  if (dataset == run.resolved.end() || !dataset->is_object()) return "";
  const auto digest = dataset->find("digest");
  return digest != dataset->end() && digest->is_string() ? digest->get<std::string>() : "";
}

void TellDatasetsApart(std::span<SweepResults> results) {
  std::map<std::string, std::set<std::string>> digests;
  std::map<std::string, std::string> names;  // of evaluated datasets: one for each digest
  for (const SweepResults& result : results) {
    for (const ResultRun& run : result.runs) {
      digests[run.dataset].insert(DatasetDigest(run));
      names.emplace(DatasetDigest(run), run.dataset);
    }
  }
  for (const SweepResults& result : results) {
    for (const ResultRow& row : result.rows) {
      const std::optional<EvaluatedDataset> read = EvaluatedDatasetOf(row.evaluation);
      if (!read) continue;
      const auto name = names.emplace(read->digest, read->name).first;
      digests[name->second].insert(read->digest);
    }
  }
  for (SweepResults& result : results) {
    for (ResultRow& row : result.rows) {
      std::optional<EvaluatedDataset> read = EvaluatedDatasetOf(row.evaluation);
      if (!read) continue;
      read->name = names.at(read->digest);
      if (digests.at(read->name).size() > 1) {
        read->name = Str(read->name, "@", ShortId(read->digest));
      }
      row.evaluation = WithEvaluatedDataset(std::move(row.evaluation), *read);
    }
    for (ResultRun& run : result.runs) {
      if (digests.at(run.dataset).size() == 1) continue;
      run.dataset = Str(run.dataset, "@", ShortId(DatasetDigest(run)));
      if (run.axes.contains("dataset")) run.axes["dataset"] = run.dataset;
    }
  }
}

}  // namespace longrun::client
