#include "client/words/submission.h"

#include <vector>

#include "base/str.h"
#include "client/words/render.h"

namespace longrun {
namespace {

constexpr std::size_t kOthersShown = 5;

}  // namespace

std::string SubmissionText(const Json& answer) {
  const Json& counts = answer.at("counts");
  const auto count = [&counts](const char* name) { return counts.at(name).get<std::int64_t>(); };
  std::vector<std::string> parts;
  if (count("train_tasks_new") > 0) {
    parts.push_back(Counted(count("train_tasks_new"), "run") + " to train");
  }
  if (count("cells_new") > 0) {
    parts.push_back(Str(Counted(count("cells_new"), "cell"), " to evaluate in ",
                        Counted(count("evaluate_tasks_new"), "task")));
  }
  if (count("tasks_retried") > 0) {
    // This includes tasks that were cancelled before they ever ran.
    parts.push_back(
        Str(Counted(count("tasks_retried"), "task"), " once more (failed or cancelled before)"));
  }
  std::string text = answer.at("name").get<std::string>() + ": ";
  text += parts.empty() ? "nothing new" : Join(parts, ", ");
  if (count("tasks_failed_for_good") > 0) {
    text += Str("; not tried again, since the same would fail again: ",
                Counted(count("tasks_failed_for_good"), "task"));
  }
  if (count("runs_reused") + count("cells_reused") > 0) {
    text += Str("; known or under way: ", Counted(count("runs_reused"), "run"), ", ",
                Counted(count("cells_reused"), "cell"));
  }
  return text;
}

std::string OthersText(const Json& others) {
  std::string text;
  std::size_t n = 0;
  for (const Json& other : others) {
    if (++n > kOthersShown) continue;
    const std::string id = other.at("sweep_id").get<std::string>();
    text += Str("  ", other.at("name").get<std::string>(), ", ",
                other.at("tasks_succeeded").get<std::int64_t>(), " of ",
                Counted(other.at("tasks").get<std::int64_t>(), "task"), " done: `longrun cancel ",
                id, "` ends it\n");
  }
  if (n > kOthersShown) text += Str("  and ", n - kOthersShown, " more: `longrun ls`\n");
  return text;
}

}  // namespace longrun
