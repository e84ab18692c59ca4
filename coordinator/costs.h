// The known costs of work, for forecasts: FLOPs of a cell, the tasks measured so far, and the
// existing slots.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "coordinator/forecast.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/store/reader.h"
#include "coordinator/store/store.h"
#include "sweeps/run.h"

namespace longrun::coordinator {

// What of a cell its cost depends on.
struct CellLength {
  std::int64_t context_length = 0;
  std::int64_t prompt_tokens = 0;  // as in ExpectedCell

  // The tokens of the longest text that the model reads at once.
  std::int64_t longest_read() const { return prompt_tokens > 0 ? prompt_tokens : context_length; }
};
CellLength LengthOf(const ExpectedCell& cell);

// The costs of cells, from the sizes of splits. Each kind of cell is computed once: a sweep has
// many runs and few kinds.
class CellCosts {
 public:
  explicit CellCosts(const std::vector<DatasetRow>& datasets);

  // The FLOPs of a task that measures one cell for each length; nullopt if they are unknown (an
  // evaluation that measures time, a dataset that is no longer registered).
  std::optional<double> Flops(const Run& run, const Json& evaluation,
                              std::span<const CellLength> lengths);

 private:
  std::optional<double> Tokens(const std::string& digest, const Json& evaluation,
                               std::int64_t context_length);

  using Key = std::tuple<std::string, std::string, std::int64_t>;
  std::map<std::string, DatasetRow> datasets_;  // by digest
  std::map<Key, std::optional<double>> tokens_;
};

// Adds the cell's FLOPs to `sum`, which becomes nullopt if those of any cell are unknown.
void AddFlops(const std::optional<double>& flops, std::optional<double>& sum);

// The newest succeeded tasks on devices that a sweep may use, in the form that a forecast takes.
Result<std::vector<MeasuredTask>> NewestMeasured(StoreReader& reader, DeviceChoice device_kind,
                                                 CellCosts& costs);

// The slots that a sweep may use: those of present workers, or else of known absent workers. If no
// worker is known, `n` is 0, and `memory_bytes` is this machine's memory (0 if the sweep needs a
// GPU).
struct Slots {
  std::int64_t n = 0;
  std::int64_t memory_bytes = 0;        // of the largest slot
  DeviceKind kind = DeviceKind::kCpu;   // of the largest slot, or the kind that is lacking
  std::int64_t fused_head_dim_max = 0;  // FusedHeadDimMax, of the largest slot
  bool any_worker = false;
  std::string_view of = "machine";  // "workers" (present), "last workers" (absent), "machine"
};
Slots SlotsFor(const State& state, DeviceChoice device_kind);

}  // namespace longrun::coordinator
