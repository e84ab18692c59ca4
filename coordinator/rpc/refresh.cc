// See refresh.h.
#include "coordinator/rpc/refresh.h"

#include <optional>
#include <utility>

#include "base/str.h"
#include "coordinator/refresh.h"

namespace longrun::coordinator {
namespace {

// A stale task as the state knows it.
struct Standing {
  bool is_under_way = false;
  bool is_gone = false;  // its result is another one by now
  bool has_unreadable = false;
  std::string weights = {};  // sha256 of the manifest of its checkpoint or imported model; "": none
  bool is_imported = false;  // the weights are the model's that the run starts from
  std::string run = {};      // otherwise, whose weights they are
};

Standing StandingOf(const State& state, const StaleTask& stale) {
  const auto found = state.tasks.find(stale.task);
  if (found == state.tasks.end()) return {.is_gone = true};
  const Task& task = found->second;
  if (IsRefreshing(task)) return {.is_under_way = true};
  if (task.state != TaskState::kSucceeded || task.result_attempt != stale.attempt) {
    return {.is_gone = true};
  }
  const RunRecord& run = state.runs.at(task.run_key);
  if (!run.unknown.empty() || !task.unknown.empty()) return {.has_unreadable = true};
  Standing standing;
  if (task.needs.empty()) {
    if (run.run.init) standing.weights = run.run.init->sha256;
    standing.is_imported = run.run.init.has_value();
    return standing;
  }
  const auto training = state.tasks.find(task.needs);
  const bool is_trained =
      training != state.tasks.end() && training->second.state == TaskState::kSucceeded;
  if (training != state.tasks.end()) standing.run = training->second.run_key;
  if (is_trained && training->second.final_checkpoint) {
    standing.weights = training->second.final_checkpoint->sha256;
  }
  return standing;
}

// Why there are no weights to measure again, with `detail`: what is missing of them.
std::string NoWeights(const Standing& standing, const std::string& detail) {
  if (standing.is_imported) {
    return Str("the run's imported model was removed or damaged", detail,
               "; to measure again, first import the model again (longrun import NAME FOLDER). The "
               "stored numbers stay");
  }
  return Str("the run's final checkpoint was removed", detail,
             "; to measure again, first train the run again (`longrun retry ",
             standing.run.substr(0, 8), "`). The stored numbers stay");
}

// Why the weights cannot be used, or "".
Result<std::string> WhyUnusable(Call& call, const Standing& standing) {
  if (standing.weights.empty()) return NoWeights(standing, "");
  const Result<std::vector<ArtifactFile>> files = call.reader.CheckpointFiles(standing.weights);
  if (!files.ok()) {
    if (files.status().code() != Code::kNotFound) return files.status();
    return NoWeights(standing, "");
  }
  for (const ArtifactFile& file : *files) {
    if (call.parts.artifacts.Has(file.sha256)) continue;
    return NoWeights(standing, Str(standing.is_imported ? "" : " or lost", " (", file.name,
                                   " is not in the artifact store)"));
  }
  return std::string();
}

}  // namespace

Result<Refresh> FindRefresh(Call& call, const std::map<std::string, std::string>& known_cells) {
  Refresh refresh;
  ASSIGN_OR_RETURN(const std::vector<ResultBody> rows, call.reader.ResultsOfCells(known_cells));
  const std::vector<StaleTask> tasks = FindStale(rows);
  std::vector<Standing> standings;
  standings.reserve(tasks.size());
  RETURN_IF_ERROR(call.parts.core.LookAndWait([&](const State& state) {
    for (const StaleTask& one : tasks) standings.push_back(StandingOf(state, one));
  }));
  std::map<std::string, std::string> unusable;  // by weights: evaluations of a run share them
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    const StaleTask& one = tasks[i];
    const Standing& standing = standings[i];
    if (standing.is_gone) continue;
    if (standing.is_under_way) {
      refresh.under_way.push_back(one.task);
      continue;
    }
    ASSIGN_OR_RETURN(std::vector<ExpectedCell> cells, call.reader.ExpectedCellsOf(one.task));
    if (standing.has_unreadable || cells.empty()) {
      refresh.impossible.push_back(
          NotRefreshedText(one, cells, "this build cannot read the run or the evaluation"));
      continue;
    }
    const auto [known, is_new] = unusable.try_emplace(standing.weights);
    if (is_new) {
      ASSIGN_OR_RETURN(known->second, WhyUnusable(call, standing));
    }
    if (!known->second.empty()) {
      refresh.impossible.push_back(NotRefreshedText(one, cells, known->second));
      continue;
    }
    ASSIGN_OR_RETURN(std::vector<MeasuredNumber> numbers, call.reader.NumbersOf(one.attempt));
    for (const ExpectedCell& cell : cells) refresh.cells.insert(cell.cell);
    refresh.stale.push_back({.task = one.task,
                             .result_attempt = one.attempt,
                             .cells = std::move(cells),
                             .numbers = std::move(numbers)});
  }
  return refresh;
}

void FillRefresh(const Refresh& refresh, const std::vector<std::string>& started,
                 v1::RefreshInfo* info) {
  const std::set<std::string> tasks(started.begin(), started.end());
  std::set<std::string> cells;
  for (const StaleResult& one : refresh.stale) {
    if (!tasks.contains(one.task)) continue;
    for (const ExpectedCell& cell : one.cells) cells.insert(cell.cell);
  }
  info->set_cells(static_cast<std::int32_t>(cells.size()));
  for (const std::string& task : started) info->add_tasks(task);
  for (const std::string& task : refresh.under_way) info->add_tasks_under_way(task);
  for (const std::string& text : refresh.impossible) info->add_impossible(text);
}

}  // namespace longrun::coordinator
