#include "client/words/kept_work.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <vector>

#include "base/str.h"
#include "client/words/render.h"

namespace longrun {
namespace {

constexpr std::int64_t kQueryMs = 5'000;
constexpr std::size_t kNamesMax = 5;

// Whether the task goes on. A stopping one does not: it was cancelled, but its trainer has not ended yet.
bool GoesOn(const Json& task) {
  static const std::set<std::string> not_on = {"SUCCEEDED", "FAILED", "CANCELLED", "SKIPPED",
                                               "STOPPING"};
  return !not_on.contains(task.at("state").get<std::string>());
}

// The other sweeps that have the run of a task that goes on.
std::vector<std::string> NamesOfOthers(Asker& asker, const std::string& sweep_id) {
  const std::string sql =
      Str("SELECT DISTINCT sweep_runs.sweep FROM sweep_runs JOIN sweeps USING (sweep_id)"
          " WHERE sweep_id <> '",
          sweep_id,
          "' AND cancelled = 0 AND run_key IN (SELECT run_key FROM sweep_runs JOIN tasks"
          " USING (run_key) WHERE sweep_id = '",
          sweep_id,
          "' AND tasks.state NOT IN ('SUCCEEDED', 'FAILED', 'CANCELLED', 'SKIPPED', 'STOPPING'))"
          " ORDER BY sweep_runs.sweep");
  const Result<Json> answer =
      asker.Ask("Query", {{"sql", sql}, {"timeout_ms", kQueryMs}}, 2 * kQueryMs);
  std::vector<std::string> names;
  if (!answer.ok()) return names;
  for (const Json& row : answer->at("rows")) names.push_back(row.at(0).get<std::string>());
  return names;
}

}  // namespace

std::string KeptWorkText(Asker& asker, const Json& sweep) {
  const Json& info = sweep.at("info");
  if (info.at("state") != "CANCELLED") return "";
  std::int64_t n_tasks = 0;
  for (const Json& run : sweep.at("runs")) {
    n_tasks += std::ranges::count_if(run.at("tasks"), GoesOn);
  }
  if (n_tasks == 0) return "";
  std::vector<std::string> names = NamesOfOthers(asker, info.at("sweep_id").get<std::string>());
  const std::size_t n_more = names.size() - std::min(names.size(), kNamesMax);
  names.resize(names.size() - n_more);
  const bool is_one = names.size() + n_more == 1;
  const std::string who = names.empty()
                              ? "another sweep"
                              : Str(is_one ? "sweep " : "sweeps ", Join(names, ", "),
                                    n_more > 0 ? Str(" and ", n_more, " more") : std::string());
  return Str(Counted(n_tasks, "task"), " of ", info.at("name").get<std::string>(),
             n_tasks == 1 ? " goes" : " go", " on, since ", who,
             names.empty() || is_one ? " wants " : " want ", n_tasks == 1 ? "it" : "them", " too");
}

}  // namespace longrun
