// The pivot of result rows: any axes as rows, any axes as columns, seeds averaged, and one table
// for each value of the remaining axes. Formats: table_format.h.
//
// Axes of runs: those of the sweeps' matrices (`position`, `train_length`, `train.optimizer.lr`, or
// `lr` if no other has that name), `dataset`, `seed`, `sweep`, and any key of the resolved run
// (`model.n_layer`). Axes of evaluations: `metric`, `split`, `protocol`, `evaluation`, `averaging`,
// `extension`, `variant`, `depth`, `tokens_of_context` (for metrics by position), `context_length`.
//
// A cell averages the seeds of one run. Numbers of different runs are never averaged: an axis that
// is neither in rows nor in columns makes a table for each of its values.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "client/tables/estimate.h"
#include "client/tables/metric.h"
#include "client/tables/pivot_filter.h"
#include "client/tables/sweep_results.h"

namespace longrun::client {

struct PivotRequest {
  std::vector<std::string> rows = {};  // empty: the axes not in `cols`, except seed
  // Empty: context_length, or tokens_of_context by position (or what remains, if
  // that is in `rows`).
  std::vector<std::string> cols = {};
  std::vector<PivotFilter> where = {};    // all must match
  std::vector<std::string> metrics = {};  // empty: perplexity, or all if there is none
  bool relative = false;                  // divided by the value at the run's train length
  // Compares each number with the one that has this value on this axis ("position=alibi") and is
  // otherwise the same.
  std::optional<PivotFilter> against = {};
  // For metrics by position: the largest number of buckets (neighbours are merged); 0: as measured.
  std::int64_t buckets_max = 0;
  // Leaves out the rows of single depths where a cell also has a row over all depths, unless
  // `rows`, `cols` or `where` name the depth.
  bool over_all_depths = false;
};

struct SeedValue {
  Json seed = {};
  std::string run_key = {};
  std::string cell = {};     // SHA-256; "" if there is no row
  std::string attempt = {};  // "" if it is missing
  std::string status = {};
  std::optional<double> value = {};
  std::optional<double> se = {};
  std::int64_t n = 0;  // tokens scored
};

// `status` is one of these, or the row's own ("not_applicable", "out_of_memory", "diverged",
// "non_finite", "failed"):
//
//   ok              with several seeds, only if all are
//   missing         not measured yet
//   not_asked       no evaluation asks for it; the cell is blank
//   no_reference    no number at the train length (`relative`), or at the value of `against`
//   zero_reference  the number at the train length is 0, by which nothing can be divided
//   overflow        the value is beyond the largest double (infinite here); its nll is known
struct PivotCell {
  std::string status = "not_asked";
  std::string reason = {};  // why there is no number, as the row says; "" if it says nothing
  ResultMetric metric = {};
  // exp(mean nll) for perplexity, over the existing seeds.
  std::optional<double> value = {};
  // On the metric's scale of averaging: the mean over seeds, or the difference from `against`.
  Estimate estimate = {};
  ShownError error = {};  // of the estimate
  // On the value's scale, of `error`.
  std::optional<double> se = {};
  std::optional<double> half95 = {};       // half of the 95 % interval
  std::vector<SeedReading> readings = {};  // of the seeds with a number
  // The units of text from which the text's error was computed. With fewer than kFewClusters of
  // them, the error is uncertain.
  TextClusters clusters = TextClusters::kUnknown;
  std::optional<std::int64_t> n_clusters = {};
  // Whether the text's error of a relative cell or of a difference is from the blocks' differences.
  bool is_text_paired = false;
  // For relative cells and differences: the probability of a value this far from equality by
  // chance. `p_holm` is corrected for all tests of the answer (CorrectForNumber).
  std::optional<PValues> p = {};
  std::optional<double> p_holm = {};
  std::size_t n_seeds_matched = 0;  // of a difference
  // For the status "no_reference" with `against`: the keys in which the cell's run differs from the
  // most similar run that has the value of `against`.
  std::vector<std::string> keys_that_differ = {};
  // Of pll_approximate: every pass hid one token, so the number is that of pll.
  bool hid_one_at_a_time = false;
  std::optional<double> nll = {};            // mean over seeds, for rows of metric nll
  std::optional<double> bits_per_byte = {};  // pooled over seeds
  // For a speed: the quantiles over its timed steps, averaged over seeds. Empty if a seed's row
  // lacks them.
  std::optional<Quantiles> quantiles = {};
  std::int64_t n = 0;          // tokens scored, over all seeds
  std::size_t n_ok = 0;        // seeds with a number
  std::size_t n_answered = 0;  // seeds with a number or a reason for its absence
  std::size_t n_wanted = 0;    // seeds in the sweep
  std::int64_t train_length = 0;
  bool at_train_length = false;  // by position: of the bucket with the train length
  // True for the best of several rival cells, and for each rival that a paired test at kTestLevel,
  // corrected for the number of pairs (Holm), cannot separate from it. Without any error, only
  // equal values count as best.
  bool is_best = false;
  std::optional<double> p_best = {};  // of that test; empty for the best itself
  // Of a cell that is not separable from the best, or from that of `against`.
  std::optional<FewSeeds> few_seeds = {};
  // For a share beside that of the same model under a plain window (plain_window.h), at a context
  // length beyond the window: its number of tokens, and the test against it. `p_window_holm` is
  // corrected for all such tests of the answer. A run that was trained under an extension is
  // compared with its base under a plain window.
  std::int64_t window_tokens = 0;
  bool is_window_of_base = false;
  std::optional<PValues> p_window = {};
  std::optional<double> p_window_holm = {};
  bool is_like_window = false;  // not separable from the window at kTestLevel
  bool lacks_window = false;    // there is no number under a plain window to compare with
  // For answers to prompts: the tokens of the longest prompt, and the context length for which it
  // was made; 0: no prompts.
  std::int64_t longest_prompt = 0, context_length = 0;
  std::vector<SeedValue> seeds = {};
  std::vector<std::string> sweeps = {};  // names of the sweeps that have these runs
};

inline constexpr std::int64_t kFewClusters = 10;

struct PivotRow {
  std::vector<Json> key = {};  // a value per row axis; null if the run has none
  std::string baseline = {};   // "unigram": a row without a model; `key` has only its dataset
  std::string dataset = {};    // of a baseline
  std::vector<Json> seeds = {};
  std::vector<std::string> run_keys = {};
  std::vector<PivotCell> cells = {};  // one per column
};

struct PivotTable {
  std::vector<std::string> matrix_axes = {};  // the sweeps', in the order of their files
  std::vector<ResultMetric> metrics = {};     // one, unless `metric` is an axis
  bool relative = false;
  std::string against = {};  // "position=alibi": cells are ratios to it, or differences
  // Of several sweeps: the keys in which the runs of all tables differ although no axis shows it.
  std::vector<std::string> hidden_keys = {};
  // Runs from which runs of the answer start, but which are not known: then longrun cannot tell
  // whether two of these runs are seeds of one. Empty if there is only one.
  std::set<std::string> unknown_ancestors = {};
  bool errors_are_mixed = false;                   // the cells' errors have different sources
  bool has_two_errors = false;                     // some cell has both
  std::map<double, std::string> depth_texts = {};  // of all depths of the answer (depth_text.h)
  bool leaves_out_baselines = false;  // of some table of the answer: no row has a place for them
  bool leaves_out_depths = false;     // of some table of the answer (PivotRequest::over_all_depths)
  std::vector<std::pair<std::string, Json>> fixed =
      {};                                  // values that all cells share: split, protocol, ...
  std::vector<std::string> row_axes = {};  // full names
  std::vector<std::string> col_axes = {};
  std::vector<std::vector<Json>> columns = {};  // a value per column axis
  std::vector<PivotRow> rows = {};              // models, then baselines
  std::string best_of =
      {};  // where the best is marked: "of the column", "of the table", "model of the column"
  std::string protocol = {};  // with its parameters, where all share them: "last_k(every=64,k=8)"
};

// Whether a comparison of two values of this metric is a ratio; else it is a difference.
bool ComparesAsRatio(const ResultMetric& metric);

// Builds tables from the results of sweeps, in the order of their rows in the table.
// kInvalidArgument for an unknown axis, value or metric: the message lists those that exist.
Result<std::vector<PivotTable>> BuildPivot(const std::vector<SweepResults>& results,
                                           const PivotRequest& request);

}  // namespace longrun::client
