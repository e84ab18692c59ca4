// A sweep as one HTML page that needs nothing else: no request leaves it, it can be read without its
// script (which only sorts tables), on light and dark screens, wide and narrow.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "client/plot.h"

namespace longrun {

struct ReportRun {
  std::string run_key;
  Json axes;  // axis path -> value
  std::string dataset;
  std::string dataset_digest;
  Json seed;
  std::string train_state;                  // of its training task; "" before there is one
  std::string checkpoint;                   // SHA-256 of the trained weights' manifest, or ""
  std::optional<double> batch_tokens = {};  // of an optimiser step; nothing where it trains nothing
  Json started;                             // body of the `started` record of its training, or null
};

struct ReportFailure {
  std::string run_key;
  std::string kind;  // train | evaluate
  std::int64_t n = 0;
  std::string attempt;
  std::string state;
  std::string failure_class;
  std::string message;
  std::string worker;
  std::string log_tail;  // "" where there is none
};

struct ReportInput {
  Json info;     // SweepInfo
  Json labels;   // name -> text; "question" is shown as what the sweep asks
  Json results;  // answer of GetResults
  std::string yaml;
  Json overrides;  // [[path, value], ..] given with --set
  std::vector<ReportRun> runs;
  std::vector<ReportFailure> failures;
  std::int64_t n_failures = 0;         // in all; `failures` may hold the first of them
  std::vector<LossCurve> losses;       // training loss
  std::vector<LossCurve> validations;  // validation loss, where there is one
  std::int64_t n_curves_left_out = 0;
  std::string made_by;  // release and commit of this program
  std::string made_at;  // wall clock, for people
};

Result<std::string> ReportPage(const ReportInput& input);

}  // namespace longrun
