// See refresh.h.
#include "coordinator/refresh.h"

#include <map>
#include <string_view>
#include <utility>

#include "base/json.h"
#include "base/str.h"
#include "model/evaluation/nll_row.h"

namespace longrun::coordinator {

std::vector<StaleTask> FindStale(const std::vector<ResultBody>& rows) {
  std::map<std::string, StaleTask> stale;
  for (const ResultBody& row : rows) {
    const Result<Json> body = ParseJson(row.body_json);
    if (!body.ok() || !LacksTextError(*body)) continue;
    StaleTask& one = stale[row.task];
    one.task = row.task;
    one.attempt = row.attempt;
    one.run_key = row.run_key;
    one.cells.insert(row.cell);
  }
  std::vector<StaleTask> tasks;
  tasks.reserve(stale.size());
  for (auto& [id, one] : stale) tasks.push_back(std::move(one));
  return tasks;
}

std::string NotRefreshedText(const StaleTask& stale, const std::vector<ExpectedCell>& cells,
                             std::string_view why) {
  std::map<std::string, std::set<std::int64_t>> lengths;  // by metric
  for (const ExpectedCell& cell : cells) {
    if (stale.cells.contains(cell.cell)) lengths[cell.metric].insert(cell.context_length);
  }
  std::vector<std::string> what;
  for (const auto& [metric, at] : lengths) {
    std::vector<std::string> texts;
    for (const std::int64_t length : at) texts.push_back(Str(length));
    what.push_back(Str(metric, " at ", Join(texts, ", ")));
  }
  constexpr std::size_t kDigitsShown = 8;
  return Str("run ", stale.run_key.substr(0, kDigitsShown), ": ", Join(what, "; "), ": ", why);
}

}  // namespace longrun::coordinator
