// See stored_sweep.h.
#include "sweeps/stored_sweep.h"

#include "sweeps/spec.h"

namespace longrun {

Result<Sweep> ParseStoredSweep(std::string_view yaml, std::string_view file_name,
                               const Overrides& overrides, const DatasetCatalogue& datasets) {
  return ParseSweepOf(SweepOrigin::kStored, yaml, file_name, overrides, datasets);
}

}  // namespace longrun
