// longrun_result_ppl and longrun_result_pseudo_ppl: the perplexities and pseudo-perplexities of
// sweeps whose file says `metadata.export: prometheus`. They are read from the store before a
// scrape if something was stored since the last one.
//
// A value is exp(mean nll). The mean is over the seeds of a point, as in `longrun table`, and over
// all axes that are not among the labels. The labels are sweep, method, stage, train_length,
// context_length, dataset, split, protocol and evaluation (the protocol with its parameters, so
// that numbers with different strides are never averaged). Of several sweeps with the same name,
// the newest counts. If there are too many series to show, those of the oldest sweeps are left out.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "coordinator/metrics.h"
#include "coordinator/store/reader.h"

namespace longrun::coordinator {

class ResultExports {
 public:
  // The database is opened by the first Refresh.
  explicit ResultExports(std::string database_path) : database_path_(std::move(database_path)) {}

  // An error is logged, and the page keeps its previous content. One thread at a time.
  void Refresh(Metrics& metrics);

 private:
  Result<std::vector<ResultSeries>> Read();
  // Whether the sweep's file asks for export; each file is read once.
  bool IsWanted(const ExportCandidate& sweep);

  std::string database_path_;
  std::unique_ptr<StoreReader> reader_;
  std::map<std::string, bool> wanted_;  // sweep id
  std::int64_t version_ = -1;           // of the data that the page shows
  bool capped_ = false;
};

// The method as a label: "rope" stays "rope"; {"method": "rope", "theta": 500000} becomes
// "rope(theta=500000)".
std::string MethodLabel(const std::string& axes_json);
// "base" or a stage's name; "" in a sweep without stages.
std::string StageLabel(const std::string& axes_json);

}  // namespace longrun::coordinator
