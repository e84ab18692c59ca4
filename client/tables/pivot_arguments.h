// The arguments of a verb that pivots results: SWEEP... --rows --cols --where --metric
// --relative --against --buckets.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "client/console/arguments.h"
#include "client/tables/pivot.h"
#include "client/wire/sweep_calls.h"

namespace longrun::client {

struct PivotArguments {
  std::vector<std::string> sweeps;
  std::vector<std::string> rows;
  std::vector<std::string> cols;
  std::vector<std::string> where;  // "axis=value,value"
  std::vector<std::string> metrics;
  bool relative = false;
  std::optional<std::string> against = {};  // "axis=value"
  std::optional<std::int64_t> buckets_max = {};
};

std::shared_ptr<PivotArguments> AddPivot(Verb& verb);

Result<PivotRequest> ReadPivotRequest(const PivotArguments& arguments);

// The results of each sweep, under its name as the user wrote it. Says on stderr if a name hides
// older sweeps.
Result<std::vector<SweepResults>> AskResults(SweepCalls& client,
                                             const std::vector<std::string>& sweeps);

}  // namespace longrun::client
