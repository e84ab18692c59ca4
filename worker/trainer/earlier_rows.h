// What earlier attempts of the task have measured, as far as this attempt would get the same bits.
#pragma once

#include <map>
#include <span>
#include <vector>

#include "base/json.h"
#include "sweeps/task.h"

namespace longrun::trainer {

class EarlierRows {
 public:
  // Takes the rows of attempts that were measured with the same (earlier_results.h), and that do
  // not depend on another machine than `machine`. Each row then names the attempt that measured it.
  EarlierRows(const std::vector<EarlierResults>& earlier, const Json& measured_with,
              const Json& machine);

  // One result for each of these numbers, in their order. Empty if any of them was not measured, or
  // has no value: whatever was the reason for that, it may have passed.
  std::vector<EarlierResult> ResultsOf(std::span<const ExpectedCell> cells) const;

 private:
  std::map<ExpectedCell, EarlierResult> results_;
};

}  // namespace longrun::trainer
