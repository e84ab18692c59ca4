// What is known of the cost of work: FLOPs of a cell, and tasks measured so far, for forecasts.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "coordinator/forecast.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/store/reader.h"
#include "coordinator/store/store.h"
#include "longrun/v1/sweeps.pb.h"
#include "sweeps/run.h"

namespace longrun {

// What cells cost, by the split's sizes. Each kind of cell is asked for once: a sweep has many runs,
// and few kinds.
class CellCosts {
 public:
  explicit CellCosts(const std::vector<DatasetRow>& datasets);

  // FLOPs of one cell; nothing when no such number can be told (an evaluation that measures time, a
  // dataset that is registered no more).
  std::optional<double> Flops(const Run& run, const Json& evaluation, std::int64_t context_length);

 private:
  std::optional<double> Tokens(const std::string& digest, const Json& evaluation,
                               std::int64_t context_length);

  using Key = std::tuple<std::string, std::string, std::int64_t>;
  std::map<std::string, std::map<std::string, std::int64_t>> splits_;  // by digest
  std::map<Key, std::optional<double>> tokens_;
};

// Adds the cell's FLOPs to `sum`, which is nothing once one part is.
void AddFlops(const std::optional<double>& flops, std::optional<double>& sum);

// The newest tasks that succeeded, as a forecast wants them; of one kind of device, or of "any".
Result<std::vector<MeasuredTask>> NewestMeasured(StoreReader& reader,
                                                 const std::string& device_kind, CellCosts& costs);

// The slots that a sweep may use: of the workers that are there; else of those that were, as they were;
// else this machine stands for the one that a worker will come from, of which one slot may have all.
struct Slots {
  std::int64_t n = 0;
  std::int64_t memory_bytes = 0;  // of the largest one
  std::string kind = "cpu";       // its
  bool any_worker = false;
  std::string_view of = "machine";  // PlanSweepResponse.slots_of
};
Slots SlotsFor(const State& state, const std::string& device_kind);

void SetTime(const Estimate& estimate, v1::TimeEstimate* message);

}  // namespace longrun
