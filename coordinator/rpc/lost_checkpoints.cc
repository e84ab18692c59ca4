// See lost_checkpoints.h.
#include "coordinator/rpc/lost_checkpoints.h"

#include <deque>
#include <map>
#include <set>
#include <span>
#include <utility>

#include "base/artifact_file.h"
#include "coordinator/rpc/look_at_tasks.h"

namespace longrun::coordinator {
namespace {

// A training task that has ended.
struct Training {
  bool has_succeeded = false;
  std::string final_checkpoint = {};
  std::vector<std::string> checkpoints = {};  // the newest first
  std::string needs = {};
};

// What the event asks to try again, and all training tasks on which that rests.
struct Asked {
  std::map<std::string, Training> trainings = {};
  std::vector<std::string> named = {};  // of these, tasks of the event
  std::set<std::string> needed = {};    // of these, what another task of the event starts from
};

// `tasks`: some of the event. `lost`: those of the event that lost a result.
void Note(const State& state, std::span<const std::string> tasks, const std::set<std::string>& lost,
          Asked& asked) {
  for (const std::string& id : tasks) {
    const auto found = state.tasks.find(id);
    if (found == state.tasks.end() || !IsTerminal(found->second.state)) continue;
    const Task& named = found->second;
    if (named.kind == TaskKind::kTrain) asked.named.push_back(id);
    const bool evaluates = named.state != TaskState::kSucceeded || lost.contains(id);
    if (named.kind == TaskKind::kEvaluate && evaluates) asked.needed.insert(named.needs);
    auto next = named.kind == TaskKind::kTrain ? found : state.tasks.find(named.needs);
    while (next != state.tasks.end() && IsTerminal(next->second.state)) {
      const Task& task = next->second;
      Training training = {.has_succeeded = task.state == TaskState::kSucceeded,
                           .needs = task.needs};
      if (task.final_checkpoint) training.final_checkpoint = task.final_checkpoint->sha256;
      for (auto it = task.checkpoints.rbegin(); it != task.checkpoints.rend(); ++it) {
        training.checkpoints.push_back(it->sha256);
      }
      if (!asked.trainings.emplace(task.id, std::move(training)).second) break;
      next = state.tasks.find(task.needs);
    }
  }
}

Result<Asked> AskedBy(Core& core, const RetryRequested& event) {
  Asked asked;
  std::set<std::string> lost;
  for (const LostResult& one : event.lost) lost.insert(one.task);
  RETURN_IF_ERROR(
      LookAtTasks(core, event.tasks, [&](const State& state, std::span<const std::string> some) {
        Note(state, some, lost, asked);
        return true;
      }));
  return asked;
}

class Search {
 public:
  explicit Search(Call& call) : call_(call) {}

  // Whether a file of the checkpoint is missing, known to be damaged or of another size; with
  // `reads`, also whether the bytes of a file are others.
  Result<bool> IsLost(const std::string& checkpoint, bool reads) {
    const auto files = call_.reader.CheckpointFiles(checkpoint);
    const Code code = files.status().code();
    if (code == Code::kNotFound || code == Code::kDataLoss) return true;
    RETURN_IF_ERROR(files.status());
    bool any_lost = false;
    for (const ArtifactFile& file : *files) {  // all of them: what is damaged is to be removed
      ASSIGN_OR_RETURN(const bool is_lost, IsLost(file, reads));
      any_lost = any_lost || is_lost;
    }
    return any_lost;
  }

 private:
  Result<bool> IsLost(const ArtifactFile& file, bool reads) {
    ArtifactStore& store = call_.parts.artifacts;
    if (!store.Has(file.sha256)) return true;
    const auto found = store.Find(file.sha256);
    if (!found.ok() || (found->n_bytes == file.n_bytes && !reads)) return !found.ok();
    const auto go_on = [&]() -> Status {
      if (call_.parts.stopping) return Status(Code::kUnavailable, "the coordinator is stopping");
      if (call_.context->IsCancelled()) return Status(Code::kCancelled, "the caller has gone");
      return Status();
    };
    const Result<bool> is_damaged = store.NoteIfDamaged(file.sha256, go_on);
    if (is_damaged.status().code() == Code::kNotFound) return true;
    return is_damaged;
  }

  Call& call_;
};

}  // namespace

Result<std::vector<LostCheckpoints>> FindLostCheckpoints(Call& call, const RetryRequested& event,
                                                         bool reads_all) {
  ASSIGN_OR_RETURN(Asked asked, AskedBy(call.parts.core, event));
  Search search(call);
  std::vector<LostCheckpoints> lost;
  std::set<std::string> seen;
  std::deque<std::string> tasks(asked.named.begin(), asked.named.end());
  tasks.insert(tasks.end(), asked.needed.begin(), asked.needed.end());
  for (; !tasks.empty(); tasks.pop_front()) {
    const std::string id = tasks.front();
    const auto found = asked.trainings.find(id);
    if (found == asked.trainings.end() || !seen.insert(id).second) continue;
    const Training& training = found->second;
    LostCheckpoints of_task = {.task = id, .sha256 = {}};
    const bool reads = reads_all || asked.needed.contains(id);
    if (training.has_succeeded) {
      ASSIGN_OR_RETURN(const bool is_lost, search.IsLost(training.final_checkpoint, reads));
      if (!is_lost) continue;
      of_task.sha256.insert(training.final_checkpoint);
    }
    bool has_intact = false;
    for (const std::string& checkpoint : training.checkpoints) {
      if (of_task.sha256.contains(checkpoint)) continue;
      ASSIGN_OR_RETURN(const bool is_lost,
                       search.IsLost(checkpoint, reads || training.has_succeeded));
      has_intact = !is_lost;
      if (has_intact) break;
      of_task.sha256.insert(checkpoint);
    }
    if (!of_task.sha256.empty()) lost.push_back(std::move(of_task));
    // It begins again, with the weights that it needs.
    if (has_intact || training.needs.empty()) continue;
    asked.needed.insert(training.needs);
    tasks.push_back(training.needs);
  }
  return lost;
}

void RemoveDamaged(Call& call, const std::vector<LostCheckpoints>& lost,
                   const std::set<std::string>& tasks) {
  for (const LostCheckpoints& of_task : lost) {
    if (!tasks.contains(of_task.task)) continue;
    for (const std::string& checkpoint : of_task.sha256) {
      const auto files = call.reader.CheckpointFiles(checkpoint);
      if (!files.ok()) continue;
      for (const ArtifactFile& file : *files) call.parts.artifacts.RemoveDamaged(file.sha256);
    }
  }
}

}  // namespace longrun::coordinator
