// A stored run as a sweep file that gives it again (sweeps/reproduce.h),
// from the coordinator's data.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "client/wire/retrying_client.h"

namespace longrun::client {

struct ReproducedRun {
  std::string run_key;
  std::string yaml;
  // The reasons why the unchanged file would not give the same run here: the name of its dataset
  // refers to other content, or to none.
  std::vector<std::string> warnings = {};
};

// `run`: the beginning of a run's id, at least 8 digits.
Result<ReproducedRun> ReproduceRun(RetryingClient& client, const std::string& run);

// The same from the answers of GetRun, ListDatasets, a query of the run's evaluations (rows of
// [evaluation, context_lengths] as JSON text) and ListModels.
Result<ReproducedRun> ReproduceFrom(const v1::RunInfo& run,
                                    const Repeated<v1::DatasetInfo>& datasets,
                                    const Json& evaluations,
                                    const Repeated<v1::ModelInfo>& models = {});

}  // namespace longrun::client
