// See datasets.h.
#include "coordinator/rpc/datasets.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/str.h"
#include "coordinator/rpc/names.h"
#include "model/data/dataset.h"
#include "sweeps/evaluated_dataset.h"

namespace longrun::coordinator {
namespace {

constexpr std::size_t kTaskDigitsShown = 8;

void FillDataset(const DatasetRow& row, v1::DatasetInfo* message) {
  message->set_name(row.info.name);
  message->set_digest(row.info.digest);
  message->set_folder(row.folder);
  message->set_tokenizer(row.info.tokenizer_fingerprint);
  message->set_vocab_size(row.info.vocab_size);
  for (const auto& [split, n_tokens] : row.info.split_tokens) {
    (*message->mutable_split_tokens())[split] = n_tokens;
  }
}

// The dataset that the request names, read from its folder.
Result<DatasetRow> DatasetOf(const v1::RegisterDatasetRequest& request) {
  RETURN_IF_ERROR(CheckName(request.name(), "dataset"));
  if (!request.folder().starts_with('/')) {
    return Status(Code::kInvalidArgument,
                  Str("the folder \"", request.folder(), "\" is not an absolute path"));
  }
  ASSIGN_OR_RETURN(const Dataset dataset, Dataset::Open(request.folder()));
  DatasetRow row{.info = {.name = request.name(),
                          .digest = dataset.digest(),
                          .tokenizer_fingerprint = dataset.tokenizer_fingerprint(),
                          .vocab_size = dataset.vocab_size(),
                          .split_tokens = {},
                          .n_tokens = dataset.n_tokens(),
                          .mask_token = dataset.mask_id()},
                 .folder = request.folder()};
  for (const std::string& name : dataset.split_names()) {
    ASSIGN_OR_RETURN(const TokenSplit* split, dataset.Split(name));
    row.info.split_tokens[name] = split->n_tokens();
  }
  return row;
}

// kFailedPrecondition while a task that has not ended reads the dataset: as the one of its run, or
// as the one that its evaluation names.
Status CheckUnused(Core& core, StoreReader& reader, const DatasetRow& dataset) {
  const std::string& name = dataset.info.name;
  ASSIGN_OR_RETURN(const std::vector<SweepRow> sweeps, reader.Sweeps());
  std::vector<std::string> users, stopping;
  RETURN_IF_ERROR(core.LookAndWait([&](const State& state) {
    std::set<std::string> of_sweeps, to_come;  // to_come: not all that is left is stopping
    for (const auto& [id, task] : state.tasks) {
      if (IsTerminal(task.state)) continue;
      const bool is_of_run = state.runs.at(task.run_key).dataset_name == name;
      if (!is_of_run && DigestOfText(task.evaluation, "") != dataset.info.digest) continue;
      const auto asking = state.index.task_sweeps.find(id);
      if (asking == state.index.task_sweeps.end() || asking->second.empty()) {
        users.push_back(Str("task ", id.substr(0, kTaskDigitsShown), ", which no sweep has"));
      } else {
        of_sweeps.insert(asking->second.begin(), asking->second.end());
        if (!task.cancel_wanted) to_come.insert(asking->second.begin(), asking->second.end());
      }
    }
    for (const SweepRow& sweep : sweeps) {
      if (!of_sweeps.contains(sweep.id)) continue;
      if (!to_come.contains(sweep.id)) {
        stopping.push_back(Str(sweep.name, " (`longrun get ", sweep.id, "`)"));
        continue;
      }
      users.push_back(Str(sweep.name, " (`longrun cancel ", sweep.id, "`)"));
    }
  }));
  if (!users.empty()) {
    return Status(Code::kFailedPrecondition,
                  Str("dataset \"", name, "\" is needed by unfinished tasks of ", Join(users, ", "),
                      ": wait until these tasks have ended, or cancel them"));
  }
  if (!stopping.empty()) {
    return Status(
        Code::kFailedPrecondition,
        Str("dataset \"", name, "\" is still used by stopping trainers of ", Join(stopping, ", "),
            ": try again once they have ended; if no service is running, `longrun up` "
            "ends them"));
  }
  return Status();
}

}  // namespace

Status RegisterDataset(Call& call, const v1::RegisterDatasetRequest& request,
                       v1::RegisterDatasetResponse* response) {
  call.error.subject = request.name();
  ASSIGN_OR_RETURN(const DatasetRow row, call.WithReason("DATASET_INVALID", DatasetOf(request)));
  ASSIGN_OR_RETURN(const bool changed, call.parts.core.RegisterDataset(row));
  response->set_digest(row.info.digest);
  response->set_changed(changed);
  return Status();
}

Status ListDatasets(Call& call, const v1::ListDatasetsRequest&,
                    v1::ListDatasetsResponse* response) {
  for (const DatasetRow& row : call.parts.core.datasets()) {
    FillDataset(row, response->add_datasets());
  }
  return Status();
}

Status RemoveDataset(Call& call, const v1::RemoveDatasetRequest& request,
                     v1::RemoveDatasetResponse* response) {
  call.error.subject = request.name();
  const std::vector<DatasetRow> datasets = call.parts.core.datasets();
  const auto is_it = [&](const DatasetRow& row) { return row.info.name == request.name(); };
  const auto dataset = std::ranges::find_if(datasets, is_it);
  if (dataset == datasets.end()) {
    return call.WithReason(
        "DATASET_NOT_FOUND",
        Status(Code::kNotFound, Str("there is no dataset \"", request.name(),
                                    "\"; `longrun data ls` lists the datasets")));
  }
  RETURN_IF_ERROR(call.WithReason("DAMAGED", call.reader.CheckBeforeRemoval()));
  RETURN_IF_ERROR(
      call.WithReason("DATASET_IN_USE", CheckUnused(call.parts.core, call.reader, *dataset)));
  response->set_folder(dataset->folder);
  response->set_folder_is_named(std::ranges::any_of(datasets, [&](const DatasetRow& row) {
    return !is_it(row) && row.folder == dataset->folder;
  }));
  return call.parts.core.RemoveDataset(request.name());
}

}  // namespace longrun::coordinator
