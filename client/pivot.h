// The pivot of result rows: any axes down, any axes across, seeds folded, and one table for each
// value of the axes that are left. Formats: table_format.h.
//
// Axes: those of the sweeps' matrices (`position`, `train_length`, `train.optimizer.lr`, or `lr` where
// that is the only one so called), `dataset`, `seed`, `sweep`, any key of the resolved run
// (`model.n_layer`), and those of an evaluation: `metric`, `split`, `protocol`, `averaging`, `variant`,
// `depth`, `tokens_of_context` (of metrics by position), `context_length`.
//
// A cell folds the seeds of one run. Numbers of different runs are never averaged: an axis that is
// neither down nor across makes a table for each of its values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "client/metric.h"

namespace longrun {

// Keeps what has one of `values` on an axis. A value is text as a table shows it ("64", "cable",
// "rope(base=500000)"), or a position's method alone. Where something has `whole` on the axis, the commas
// in it belong to that value, and it is the only one.
struct PivotFilter {
  std::string axis;
  std::vector<std::string> values = {};
  std::string whole = {};
};

struct PivotRequest {
  std::vector<std::string> rows = {};  // empty: the axes that `cols` leaves, but seed
  // Empty: context_length, by position tokens_of_context (or what is left, if it is down).
  std::vector<std::string> cols = {};
  std::vector<PivotFilter> where = {};    // all hold
  std::vector<std::string> metrics = {};  // empty: perplexity, or else all that there are
  bool relative = false;                  // divided by the value at the run's train length
  // Metrics by position: at most so many buckets, neighbours merged; 0: those that were measured.
  std::int64_t buckets_max = 0;
};

struct SeedValue {
  Json seed = {};
  std::string run_key = {};
  std::string cell = {};     // SHA-256, or "" of a row that is not there
  std::string attempt = {};  // "" while it is missing
  std::string status = {};
  std::optional<double> value = {};
  std::optional<double> se = {};
  std::int64_t n = 0;  // tokens scored
};

// `status`: "ok"; "missing", not measured yet; "not_asked", no evaluation wants it (blank);
// "no_reference", nothing at the train length to be relative to; "overflow", a value beyond the
// largest double (infinite here; its nll is there); or the row's own ("not_applicable",
// "out_of_memory", "diverged", "non_finite", "failed"). With several seeds, "ok" only if all are.
struct PivotCell {
  std::string status = "not_asked";
  Metric metric = {};
  // exp(mean nll) for perplexity: of the seeds that are there.
  std::optional<double> value = {};
  // Over seeds, of their mean, where there are two or more; else the row's own.
  std::optional<double> se = {};
  bool se_is_over_seeds = false;
  std::optional<double> nll = {};            // mean over seeds, of rows of metric nll
  std::optional<double> bits_per_byte = {};  // pooled over seeds
  std::int64_t n = 0;                        // tokens scored, of all seeds
  std::size_t n_ok = 0;                      // seeds with a number
  std::size_t n_answered = 0;                // seeds with a number or with a reason for none
  std::size_t n_wanted = 0;                  // seeds that the sweep asks for
  std::int64_t train_length = 0;
  bool at_train_length = false;  // by position: of the bucket that holds it
  bool is_best = false;
  std::vector<SeedValue> seeds = {};
};

struct PivotRow {
  std::vector<Json> key = {};  // a value for each row axis; null where the run has none
  std::string baseline = {};   // "unigram": a row without a model; `key` has its dataset only
  std::string dataset = {};    // of a baseline
  std::vector<Json> seeds = {};
  std::vector<std::string> run_keys = {};
  std::vector<PivotCell> cells = {};  // one for each column
};

struct PivotTable {
  std::vector<std::string> matrix_axes = {};  // of the sweeps, in the order of their files
  std::vector<Metric> metrics = {};           // one, unless `metric` is an axis
  bool relative = false;
  std::vector<std::pair<std::string, Json>> fixed =
      {};                                  // what all cells share: split, protocol, ...
  std::vector<std::string> row_axes = {};  // full names
  std::vector<std::string> col_axes = {};
  std::vector<std::vector<Json>> columns = {};  // a value for each column axis
  std::vector<PivotRow> rows = {};              // models, then baselines
  std::string best_of =
      {};  // "of the column", "of the table", "model of the column": among which the best is marked
  std::string protocol = {};  // with its parameters, where all share them: "last_k(every=64,k=8)"
};

// From answers of GetResults, one for each sweep, in the order in which their rows shall come.
// kInvalidArgument for an axis, a value or a metric that is not there: the message says what is.
Result<std::vector<PivotTable>> BuildPivot(const std::vector<Json>& results,
                                           const PivotRequest& request);

}  // namespace longrun
