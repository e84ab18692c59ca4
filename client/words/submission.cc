#include "client/words/submission.h"

#include <vector>

#include "base/str.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

constexpr std::size_t kOthersShown = 5;

}  // namespace

std::string SubmissionText(const std::string& name, const v1::SubmitCounts& counts) {
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
        Str(Counted(counts.tasks_retried(), "task"), " once more (failed or cancelled before)"));
  }
  std::string text = name + ": ";
  text += parts.empty() ? "nothing new" : Join(parts, ", ");
  if (counts.tasks_failed_for_good() > 0) {
    text += Str("; not tried again, since the same would fail again: ",
                Counted(counts.tasks_failed_for_good(), "task"));
  }
  if (counts.runs_reused() + counts.cells_reused() > 0) {
    text += Str("; known or under way: ", Counted(counts.runs_reused(), "run"), ", ",
                Counted(counts.cells_reused(), "cell"));
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
