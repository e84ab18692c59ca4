// See planned.h.
#include "coordinator/rpc/planned.h"

#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "base/json.h"
#include "base/str.h"
#include "coordinator/dataset_documents.h"
#include "coordinator/rpc/models.h"
#include "coordinator/rpc/parents.h"
#include "sweeps/stored_sweep.h"

namespace longrun::coordinator {
namespace {

// Cell, metric, variant and depth.
using RowOfCell = std::tuple<std::string, std::string, std::string, std::optional<double>>;

// The sweep as submitted; nullopt if its file means something else by now, or cannot be read.
std::optional<Sweep> SweepOfFile(Core& core, StoreReader& reader, const SweepBody& body) {
  std::vector<std::pair<std::string, std::string>> overrides;
  const Result<Json> list = ParseJson(body.overrides_json);
  if (!list.ok()) return std::nullopt;
  for (const Json& one : *list) overrides.emplace_back(one.at(0), one.at(1));
  Result<Sweep> sweep = ParseStoredSweep(body.yaml, body.file_name, overrides,
                                         Catalogue(core.datasets(), core, reader));
  if (!sweep.ok() || SweepDigest(*sweep) != body.digest) return std::nullopt;
  return std::move(sweep).value();
}

// Adds, as "damaged", the rows that a run of the sweep should have and nothing has or owes.
void MarkOwed(const PlannedRun& run, const std::set<std::string>& open, std::set<RowOfCell>& known,
              std::vector<ResultBody>& results) {
  for (const PlannedEvaluation& evaluation : run.evaluations) {
    for (const ExpectedCell& cell : evaluation.cells) {
      if (open.contains(cell.cell)) continue;
      if (!known.emplace(cell.cell, cell.metric, cell.variant, cell.depth).second) continue;
      results.push_back(
          {.run_key = run.run_key,
           .cell = cell.cell,
           .task = "",
           .attempt = "",
           .body_json = OwedBody(cell, evaluation.evaluation.begin().value(), "damaged"),
           .evaluation_json = CanonicalJson(evaluation.evaluation),
           .asked = cell});
    }
  }
}

}  // namespace

DatasetCatalogue Catalogue(std::vector<DatasetRow> datasets, Core& core, StoreReader& reader) {
  DatasetCatalogue catalogue;
  catalogue.find_run = ParentFinder(core, reader);
  const std::vector<ModelRow> models = core.models();
  for (const ModelRow& model : models) catalogue.model_names.push_back(model.name);
  catalogue.find_model = ModelFinder(models);
  for (const DatasetRow& dataset : datasets) catalogue.names.push_back(dataset.info.name);
  catalogue.find = [rows = std::move(datasets)](const std::string& name) {
    for (const DatasetRow& row : rows) {
      if (row.info.name == name) return std::optional(WithDocuments(row));
    }
    return std::optional<DatasetInfo>();
  };
  return catalogue;
}

void FillAsked(const Sweep& sweep, v1::GetResultsResponse* response) {
  for (const std::string& axis : sweep.axes) response->add_axes(axis);
  for (const PlannedRun& run : sweep.runs) {
    v1::RunInfo* info = response->add_runs();
    info->set_run_key(run.run_key);
    info->set_axes_json(CanonicalJson(run.axes));
    info->set_dataset(run.dataset_name);
    info->set_run_json(CanonicalJson(run.run.ToJson()));
    for (const PlannedEvaluation& evaluation : run.evaluations) {
      const std::string evaluation_json = CanonicalJson(evaluation.evaluation);
      for (const ExpectedCell& cell : evaluation.cells) {
        v1::ResultRow* row = response->add_rows();
        row->set_run_key(run.run_key);
        row->set_cell(cell.cell);
        row->set_body_json(OwedBody(cell, evaluation.evaluation.begin().value(), "missing"));
        row->set_evaluation_json(evaluation_json);
      }
    }
  }
}

std::string OwedBody(const ExpectedCell& cell, const Json& params, std::string_view status) {
  Json body{{"metric", cell.metric},
            {"context_length", cell.context_length},
            {"split", params.value("split", Json())},
            {"protocol", params.value("protocol", Json())},
            {"variant", cell.variant.empty() ? Json() : Json(cell.variant)},
            {"status", status}};
  if (cell.depth) body["depth"] = *cell.depth;
  return CanonicalJson(body);
}

Status FillLost(std::vector<ResultBody> lost, std::vector<ResultBody>& results) {
  for (ResultBody& row : lost) {
    ASSIGN_OR_RETURN(const Json evaluation, ParseJson(row.evaluation_json));
    if (!evaluation.is_object() || evaluation.empty()) continue;  // written by another build
    row.body_json = OwedBody(row.asked, evaluation.begin().value(), "damaged");
    results.push_back(std::move(row));
  }
  return Status();
}

Status MarkDamaged(Core& core, StoreReader& reader, const SweepBody& body, SweepNumbers& numbers) {
  const std::optional<Sweep> sweep = SweepOfFile(core, reader, body);
  if (!sweep) {
    std::vector<ResultBody> all = std::move(numbers.results);
    numbers.results.clear();
    return FillLost(std::move(all), numbers.results);
  }
  std::map<std::string, SweepRunRow> stored;
  for (SweepRunRow& row : numbers.runs) stored.emplace(row.run_key, std::move(row));
  // A damaged run is rebuilt from its file; rows stored for it are not shown.
  const auto is_lost = [&](const auto& row) { return !stored.contains(row); };
  std::erase_if(numbers.results, [&](const ResultBody& row) { return is_lost(row.run_key); });
  std::erase_if(numbers.missing, [&](const v1::ResultRow& row) { return is_lost(row.run_key()); });
  std::set<std::string> open;
  for (const v1::ResultRow& row : numbers.missing) open.insert(row.cell());
  std::set<RowOfCell> known;
  for (const ResultBody& row : numbers.results) {
    known.emplace(row.cell, row.asked.metric, row.asked.variant, row.asked.depth);
  }
  numbers.runs.clear();
  for (const PlannedRun& run : sweep->runs) {
    const auto found = stored.find(run.run_key);
    numbers.runs.push_back(
        {.run_key = run.run_key,
         .axes_json = CanonicalJson(run.axes),
         .dataset = run.dataset_name,
         .run_json = CanonicalJson(run.run.ToJson()),
         .execution_json = found == stored.end() ? "" : found->second.execution_json});
    MarkOwed(run, open, known, numbers.results);
  }
  return Status();
}

}  // namespace longrun::coordinator
