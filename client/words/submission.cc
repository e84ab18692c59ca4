#include "client/words/submission.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "base/str.h"
#include "client/console/output.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

constexpr std::size_t kOthersShown = 5;
constexpr std::size_t kNotRefreshedShown = 20;

}  // namespace

std::string EvaluatesNothing(const std::string& sweep) {
  return Str(sweep, " evaluates nothing: its file has no `evaluate`");
}

void SayNotes(const Repeated<std::string>& notes) {
  for (const std::string& note : notes) SayLine(Str("note: ", note));
}

std::string SubmissionText(const std::string& name, const v1::SubmitCounts& counts,
                           const v1::RefreshInfo* refresh, bool was_submitted) {
  std::vector<std::string> parts;
  if (counts.train_tasks_new() > 0) {
    parts.push_back(Counted(counts.train_tasks_new(), "run") + " to train");
  }
  if (counts.cells_new() > 0) {
    parts.push_back(Str(Counted(counts.cells_new(), "cell"), " to evaluate in ",
                        Counted(counts.evaluate_tasks_new(), "task")));
  }
  if (counts.tasks_retried() > 0) {
    // This includes tasks that were cancelled before they ever ran.
    parts.push_back(
        Str(Counted(counts.tasks_retried(), "task"), " to try again (failed or cancelled before)"));
  }
  bool any_stale = false;
  if (refresh != nullptr) {
    const std::int64_t n_tasks = refresh->tasks_size(),
                       n_under_way = refresh->tasks_under_way_size();
    if (n_tasks > 0) {
      parts.push_back(Str(Counted(refresh->cells(), "cell"), " to measure again in ",
                          Counted(n_tasks, "task"), ", to get their error over the text"));
    }
    if (n_under_way > 0) {
      parts.push_back(Str(Counted(n_under_way, "task"), " measuring again already"));
    }
    any_stale = n_tasks + n_under_way + refresh->impossible_size() > 0;
  }
  std::string text = name + ": ";
  std::vector<std::string> reused;
  if (counts.runs_reused() > 0) reused.push_back(Counted(counts.runs_reused(), "run"));
  if (counts.cells_reused() > 0) reused.push_back(Counted(counts.cells_reused(), "cell"));
  const std::string known = Str("already submitted: ", Join(reused, ", "));
  const bool is_known = counts.runs_reused() + counts.cells_reused() > 0;
  const bool is_repeated = was_submitted && parts.empty() && is_known;
  text += is_repeated     ? Str("nothing new, since this sweep was ", known)
          : parts.empty() ? std::string("nothing new")
                          : Join(parts, ", ");
  if (refresh != nullptr && !any_stale) text += "; nothing to refresh";
  if (counts.tasks_failed_for_good() > 0) {
    text += Str("; ", Counted(counts.tasks_failed_for_good(), "task"), " not tried again, since ",
                counts.tasks_failed_for_good() == 1 ? "it" : "they", " would fail in the same way");
  }
  if (is_known && !is_repeated) text += Str("; ", known);
  return text;
}

bool PlansNoEvaluation(const v1::PlanSweepResponse& plan) {
  return std::ranges::all_of(plan.runs(), [](const v1::PlannedRunInfo& run) {
    // What a failed training will not have measured is not counted.
    return run.training() != "failed" && run.cells_known() + run.cells_missing() == 0;
  });
}

std::string NotRefreshedText(const v1::RefreshInfo* refresh) {
  if (refresh == nullptr) {
    return "the running service is from an earlier build that does not know --refresh-errors, so "
           "nothing is measured again\n";
  }
  std::string text;
  std::size_t n = 0;
  for (const std::string& one : refresh->impossible()) {
    if (++n <= kNotRefreshedShown) text += Str("cannot be measured again: ", one, "\n");
  }
  if (n > kNotRefreshedShown) text += Str("  and ", n - kNotRefreshedShown, " more\n");
  return text;
}

std::string RefreshOutcomeText(const v1::RefreshInfo& refresh, const Repeated<v1::RunInfo>& runs) {
  std::set<std::string> tasks(refresh.tasks().begin(), refresh.tasks().end());
  tasks.insert(refresh.tasks_under_way().begin(), refresh.tasks_under_way().end());
  std::map<std::string, std::int64_t> outcomes;
  for (const v1::RunInfo& run : runs) {
    for (const v1::TaskInfo& task : run.tasks()) {
      if (tasks.contains(task.task())) outcomes[task.reason()] += 1;
    }
  }
  std::string text;
  std::size_t n = 0;
  for (const auto& [outcome, n_tasks] : outcomes) {
    if (++n <= kNotRefreshedShown) {
      text += Str("--refresh-errors: ", Counted(n_tasks, "task"), ": ", outcome, "\n");
    }
  }
  if (n > kNotRefreshedShown) {
    text += Str("  and ", n - kNotRefreshedShown, " more: `longrun get RUN` shows each\n");
  }
  return text;
}

std::string OthersText(const Repeated<v1::SweepInfo>& others) {
  std::string text;
  std::size_t n = 0;
  for (const v1::SweepInfo& other : others) {
    if (++n > kOthersShown) continue;
    const std::string id = other.sweep_id();
    text += Str("  ", other.name(), ", ", other.tasks_succeeded(), " of ",
                Counted(other.tasks(), "task"), " done: `longrun cancel ", id, "` ends it\n");
  }
  if (n > kOthersShown) text += Str("  and ", n - kOthersShown, " more: `longrun ls`\n");
  return text;
}

}  // namespace longrun::client
