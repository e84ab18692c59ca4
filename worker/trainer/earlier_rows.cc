#include "worker/trainer/earlier_rows.h"

#include <optional>
#include <utility>

#include "sweeps/record.h"

namespace longrun::trainer {

namespace {

// Times and memory are those of a machine, which their rows name.
bool IsOfMachine(const Json& row, const Json& machine) {
  const auto extra = row.find("extra");
  if (extra == row.end()) return true;
  if (!extra->is_object()) return false;
  const auto of_row = extra->find("machine");
  return of_row == extra->end() || *of_row == machine;
}

}  // namespace

EarlierRows::EarlierRows(const std::vector<EarlierResults>& earlier, const Json& measured_with,
                         const Json& machine) {
  for (const EarlierResults& attempt : earlier) {
    if (attempt.measured_with != measured_with) continue;
    for (const EarlierResult& result : attempt.results) {
      const RecordBody parsed = ParseRecordBody(RecordKind::kResult, std::nullopt, result.row);
      const auto* const row = std::get_if<ResultRecord>(&parsed);
      if (row == nullptr || row->status != "ok") continue;
      if (!IsOfMachine(result.row, machine)) continue;
      EarlierResult taken = result;
      if (!taken.row.contains(kMeasuredBy)) taken.row[kMeasuredBy] = attempt.attempt;
      results_.emplace(row->asked(), std::move(taken));
    }
  }
}

std::vector<EarlierResult> EarlierRows::ResultsOf(std::span<const ExpectedCell> cells) const {
  std::vector<EarlierResult> results;
  for (const ExpectedCell& cell : cells) {
    const auto result = results_.find(cell);
    if (result == results_.end()) return {};
    results.push_back(result->second);
  }
  return results;
}

}  // namespace longrun::trainer
