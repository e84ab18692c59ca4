// A sweep as one self-contained HTML page: it makes no requests, can be read without its script
// (which only sorts tables), and works on light and dark, wide and narrow screens.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "client/plots/plot_losses.h"
#include "client/wire/messages.h"

namespace longrun::client {

struct ReportRun {
  std::string run_key;
  Json axes;  // axis path -> value
  std::string dataset;
  std::string dataset_digest;
  Json seed;
  std::string train_state;  // of its training task; "" if there is none yet
  std::string checkpoint;   // SHA-256 of the trained weights' manifest, or ""
  Json started;             // body of the `started` record of its training, or null
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
  std::string log_tail;  // "" if there is none
};

struct ReportInput {
  v1::SweepInfo info;
  Json labels;  // name -> text; "question" is shown as the sweep's question
  v1::GetResultsResponse results;
  std::string yaml;
  Json overrides;  // [[path, value], ..] given with --set
  std::vector<ReportRun> runs;
  std::vector<ReportFailure> failures;
  std::int64_t n_failures = 0;         // total number; `failures` may have only the first ones
  std::vector<LossCurve> losses;       // training loss
  std::vector<LossCurve> validations;  // validation loss, if there is one
  std::int64_t n_curves_left_out = 0;
  std::string made_by;  // release and commit of this program
  std::string made_at;  // wall clock, for people
};

Result<std::string> ReportPage(const ReportInput& input);

}  // namespace longrun::client
