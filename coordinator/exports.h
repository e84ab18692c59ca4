// longrun_result_ppl and longrun_result_pseudo_ppl: the perplexities and pseudo-perplexities of sweeps whose
// file says `metadata.export: prometheus`, read from the store before a scrape when something was stored
// since the last one.
//
// One value is exp of the mean nll over the seeds of a point (as in `longrun table`) and over further
// axes, since the labels are fixed: sweep, method, train_length, context_length, dataset, split, protocol,
// evaluation (the protocol with its parameters: numbers of two strides are never averaged). Of the
// sweeps with one name the newest counts; newer sweeps come first where there are more series than are
// shown.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "coordinator/metrics.h"
#include "coordinator/store/reader.h"

namespace longrun {

class ResultExports {
 public:
  static Result<std::unique_ptr<ResultExports>> Open(const std::string& database_path);

  // What cannot be read is logged, and the page keeps what it had. One thread at a time.
  void Refresh(Metrics& metrics);

 private:
  explicit ResultExports(std::unique_ptr<StoreReader> reader) : reader_(std::move(reader)) {}
  Result<std::vector<ResultSeries>> Read();
  // Whether the sweep's file asks for it; a file is read once.
  bool IsWanted(const ExportCandidate& sweep);

  std::unique_ptr<StoreReader> reader_;
  std::map<std::string, bool> wanted_;  // sweep id
  std::int64_t version_ = -1;           // of the data that the page shows
  bool capped_ = false;
};

// "rope" as it is; {"method": "rope", "theta": 500000} as "rope(theta=500000)".
std::string MethodLabel(const std::string& axes_json);

}  // namespace longrun
