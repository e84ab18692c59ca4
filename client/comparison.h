// What two runs, or two sweeps, differ in: keys, provenance, results, curves. Differences are data.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"

namespace longrun {

struct Difference {
  std::string path;  // "train.optimizer.lr"
  Json a = {};       // null where it has none
  Json b = {};
};

// The leaves of two JSON values that differ, in the order of their paths.
std::vector<Difference> DifferencesOf(const Json& a, const Json& b);

// One number that both have: the same metric, length, split, protocol, averaging, depth and variant.
// Of one seed, se = sqrt(se_a^2 + se_b^2), as if the two were independent: both score the same text, so that the
// true error of the difference is smaller, and |z| is at least what stands here.
struct ResultDifference {
  std::string metric;  // "perplexity" for rows of nll
  Json context_length = {};
  Json split = {};
  Json protocol = {};
  Json variant = {};
  Json depth = {};
  Json evaluation = {};  // what was asked: name -> parameters
  std::string status_a = {};
  std::string status_b = {};
  std::optional<double> a = {};
  std::optional<double> b = {};
  std::optional<double> difference = {};  // b - a, on the metric's own scale
  std::optional<double> se = {};          // of the difference
  std::optional<double> z = {};           // on the scale of nll, where errors add
};

// The rows of two runs as GetResults gives them.
struct RowsPair {
  Json a = Json::array();
  Json b = Json::array();
};

// `seeds`: the pairs of one point, a pair for each seed. With two or more, the difference is of means
// and its error that of the mean of the pairs' differences, which is exact for paired seeds. A row that
// only one side has is listed with status "absent" on the other one. Equal numbers have difference 0.
std::vector<ResultDifference> CompareRows(const std::vector<RowsPair>& seeds);

// Where two curves are farthest apart, among the steps that both have.
struct CurveDifference {
  std::int64_t n_steps = 0;  // that both have
  std::int64_t step = 0;     // of the largest difference
  double a = 0.0;
  double b = 0.0;
};
// Series as GetSeries gives them; nothing where no step has a number in both.
std::optional<CurveDifference> CompareCurves(const Json& series_a, const Json& series_b);

// What a run was made with: {"execution": .., "train": .., "evaluate": [..]} of the attempts that count,
// without what is new in every attempt (times, folders, ids).
Json RecordsOf(const Json& run);

}  // namespace longrun
