#include "worker/trainer/earlier_rows.h"

#include <optional>
#include <utility>

#include "sweeps/record.h"

namespace longrun::trainer {

EarlierRows::EarlierRows(const std::vector<EarlierResults>& earlier, const Json& measured_with) {
  for (const EarlierResults& attempt : earlier) {
    if (attempt.measured_with != measured_with) continue;
    for (const EarlierResult& result : attempt.results) {
      const RecordBody parsed = ParseRecordBody(RecordKind::kResult, std::nullopt, result.row);
      const auto* const row = std::get_if<ResultRecord>(&parsed);
      if (row == nullptr || row->status != "ok") continue;
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
