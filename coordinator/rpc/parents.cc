// See parents.h.
#include "coordinator/rpc/parents.h"

#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/str.h"
#include "coordinator/rpc/models.h"
#include "sweeps/sweep.h"

namespace longrun::coordinator {
namespace {

// Adds the datasets on which the weights of the run were trained before. Returns the digest of the
// imported model whose extension they keep; "": they keep none.
std::string FollowBases(const State& state, KnownRun& known) {
  const Run* run = &known.run;
  bool keeps_extension = true;
  while (true) {
    keeps_extension = keeps_extension && KeepsImportedExtension(*run);
    if (!run->init) return "";
    if (run->init->is_imported()) return keeps_extension ? run->init->sha256 : "";
    const auto base = state.runs.find(run->init->run);
    if (base == state.runs.end() || !base->second.unknown.empty()) return "";
    run = &base->second.run;
    known.trained_before.insert(run->dataset_digest);
  }
}

Result<KnownRun> FindParent(Core& core, StoreReader& reader, const std::string& beginning) {
  ASSIGN_OR_RETURN(const SweepRunRow row, reader.FindRun(beginning));
  std::optional<KnownRun> known;
  std::string unknown, imported;
  RETURN_IF_ERROR(core.LookAndWait([&](const State& state) {
    const auto task = state.tasks.find(TrainTaskKey(row.run_key));
    if (task == state.tasks.end() || task->second.state != TaskState::kSucceeded) return;
    const RunRecord& record = state.runs.at(row.run_key);
    unknown = record.unknown;
    if (!task->second.final_checkpoint) return;
    known = KnownRun{.key = row.run_key, .run = record.run};
    imported = FollowBases(state, *known);
  }));
  if (!unknown.empty()) {
    return Status(Code::kFailedPrecondition,
                  Str("run ", row.run_key.substr(0, 8), " cannot be read here: ", unknown));
  }
  if (!known) {
    return Status(Code::kFailedPrecondition,
                  Str("run ", row.run_key.substr(0, 8),
                      " has not finished training: submit this sweep when it has"));
  }
  if (!imported.empty()) known->extension = ExtensionOfModel(core.models(), imported);
  return std::move(*known);
}

// Adds the keys of the runs that a resolved run continues or starts from. Most runs start anew;
// this finds out without parsing them.
void AddLinks(const std::string& run_json, std::set<std::string>& run_keys) {
  if (run_json.find("\"parent\":") == std::string::npos &&
      run_json.find("\"init\":{") == std::string::npos) {
    return;
  }
  const Result<Json> run = ParseJson(run_json);
  if (!run.ok() || !run->is_object()) return;
  for (const auto& link : {"/parent"_json_pointer, "/init/run"_json_pointer}) {
    if (run->contains(link) && run->at(link).is_string()) run_keys.insert(run->at(link));
  }
}

}  // namespace

// Keeps the answers, since every point of a matrix asks, mostly for the same run.
std::function<Result<KnownRun>(const std::string&)> ParentFinder(Core& core, StoreReader& reader) {
  return [&core, &reader,
          known = std::map<std::string, Result<KnownRun>>()](const std::string& beginning) mutable {
    auto found = known.find(beginning);
    if (found == known.end()) {
      found = known.emplace(beginning, FindParent(core, reader, beginning)).first;
    }
    return found->second;
  };
}

Status FillAncestors(StoreReader& reader, v1::GetResultsResponse* response) {
  std::set<std::string> known, next;
  for (const v1::RunInfo& run : response->runs()) {
    known.insert(run.run_key());
    AddLinks(run.run_json(), next);
  }
  while (true) {
    std::erase_if(next, [&known](const std::string& key) { return known.contains(key); });
    if (next.empty()) return Status();
    known.insert(next.begin(), next.end());  // also those that cannot be read
    ASSIGN_OR_RETURN(std::vector<SweepRunRow> rows, reader.RunsOfKeys(next));
    next.clear();
    for (SweepRunRow& row : rows) {
      AddLinks(row.run_json, next);
      v1::RunInfo* const ancestor = response->add_ancestors();
      ancestor->set_run_key(std::move(row.run_key));
      ancestor->set_dataset(std::move(row.dataset));
      ancestor->set_run_json(std::move(row.run_json));
    }
  }
}

}  // namespace longrun::coordinator
