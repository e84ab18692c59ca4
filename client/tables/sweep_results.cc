#include "client/tables/sweep_results.h"

#include <utility>

namespace longrun::client {

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
  return results;
}

}  // namespace longrun::client
