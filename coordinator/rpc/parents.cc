// See parents.h.
#include "coordinator/rpc/parents.h"

#include <map>
#include <optional>
#include <utility>

#include "base/str.h"
#include "sweeps/sweep.h"

namespace longrun::coordinator {
namespace {

Result<std::pair<std::string, Run>> FindParent(Core& core, StoreReader& reader,
                                               const std::string& beginning) {
  ASSIGN_OR_RETURN(const SweepRunRow row, reader.FindRun(beginning));
  std::optional<Run> run;
  std::string unknown;
  RETURN_IF_ERROR(core.LookAndWait([&](const State& state) {
    const auto task = state.tasks.find(TrainTaskKey(row.run_key));
    if (task == state.tasks.end() || task->second.state != TaskState::kSucceeded) return;
    const RunRecord& record = state.runs.at(row.run_key);
    unknown = record.unknown;
    if (task->second.final_checkpoint) run = record.run;
  }));
  if (!unknown.empty()) {
    return Status(Code::kFailedPrecondition,
                  Str("run ", row.run_key.substr(0, 8), " cannot be read here: ", unknown));
  }
  if (!run) {
    return Status(Code::kFailedPrecondition,
                  Str("run ", row.run_key.substr(0, 8),
                      " has not finished training: submit this sweep when it has"));
  }
  return std::pair(row.run_key, std::move(*run));
}

}  // namespace

// Keeps the answers, since every point of a matrix asks, mostly for the same run.
std::function<Result<std::pair<std::string, Run>>(const std::string&)> ParentFinder(
    Core& core, StoreReader& reader) {
  using Answer = Result<std::pair<std::string, Run>>;
  return [&core, &reader,
          known = std::map<std::string, Answer>()](const std::string& beginning) mutable {
    auto found = known.find(beginning);
    if (found == known.end()) {
      found = known.emplace(beginning, FindParent(core, reader, beginning)).first;
    }
    return found->second;
  };
}

}  // namespace longrun::coordinator
