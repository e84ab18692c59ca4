// The differences between two runs or two sweeps: keys, provenance, results, curves.
// They are returned as data, not as text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "client/tables/estimate.h"
#include "client/tables/sweep_results.h"

namespace longrun::client {

struct Difference {
  std::string path;  // "train.optimizer.lr"
  Json a = {};       // null if this value has no such leaf
  Json b = {};
};

// The leaves of a JSON object by their paths; an empty object is one.
using Leaves = std::map<std::string, Json>;
Leaves LeavesOf(const Json& object);

// The leaves in which two JSON values differ, in the order of their paths.
std::vector<Difference> DifferencesOf(const Json& a, const Json& b);

// For each of several values, the leaves that not all of them have alike: "dataset.digest=1a2b
// stride=–". For evaluations that have the same name.
std::vector<std::string> WhatDiffers(const std::vector<Json>& values);

// One number of both sides: that of the same metric, evaluation, split, protocol, variant, depth
// and length. An evaluation's baseline does not tell numbers apart, since it only adds rows. They
// are compared by Compare() (estimate.h).
struct ResultDifference {
  std::string metric;  // "perplexity" for rows of nll
  std::optional<std::int64_t> context_length = {};
  std::optional<std::string> split = {}, protocol = {}, variant = {};
  std::optional<double> depth = {};
  Json evaluation = {};  // the evaluation: name -> parameters
  std::string status_a = {};
  std::string status_b = {};
  std::optional<double> a = {};
  std::optional<double> b = {};
  std::optional<double> difference = {};  // b - a, on the metric's own scale
  // Standard errors of the difference, on the metric's own scale: over seeds, over the text, and
  // from both together.
  std::optional<double> se_seeds = {}, se_text = {}, se = {};
  std::optional<double> half95 = {};  // half of the 95 % interval, from both together
  std::optional<double> z = {};       // the difference in standard errors, on the scale of nll
  std::optional<double> df = {};      // of Student's t for z; empty: z is normal
  std::optional<PValues> p = {};
  std::optional<double> p_holm = {};  // corrected for all results of the answer
  std::size_t n_pairs = 0;            // pairs of runs in which both have the number
  bool is_text_paired = false;        // se_text is from a comparison block by block
};

// The rows of two runs. Without the runs, all rows are taken to be of one dataset.
struct RowsPair {
  std::vector<ResultRow> a = {};
  std::vector<ResultRow> b = {};
  const ResultRun* run_a = nullptr;
  const ResultRun* run_b = nullptr;
};

// `seeds`: the pairs of one point, one pair per seed. A row that only one side has is listed with
// status "absent" for the other. If some pairs have both numbers, pairs with an absent one are left
// out. There is no difference if a number is missing for another reason (its seed has diverged,
// say). Equal numbers have difference 0.
std::vector<ResultDifference> CompareRows(const std::vector<RowsPair>& seeds);

// Sets `p_holm` of all results, which are tested together.
void CorrectForNumber(std::vector<std::vector<ResultDifference>*> results);

// The largest difference between two curves, among the steps that both have.
struct CurveDifference {
  std::int64_t n_steps = 0;  // that both have
  std::int64_t step = 0;     // of the largest difference
  double a = 0.0;
  double b = 0.0;
};
// Returns nullopt if no step has a number in both.
std::optional<CurveDifference> CompareCurves(const v1::GetSeriesResponse& series_a,
                                             const v1::GetSeriesResponse& series_b);

// The provenance of a run: {"execution": .., "train": .., "evaluate": [..]} from the attempts that
// count, without values that are new in every attempt (times, folders, ids).
Json RecordsOf(const v1::RunInfo& run);

}  // namespace longrun::client
