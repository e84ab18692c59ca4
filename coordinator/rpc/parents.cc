// See parents.h.
#include "coordinator/rpc/parents.h"

#include <map>
#include <optional>
#include <utility>

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

}  // namespace longrun::coordinator
