// A sweep's numbers beside those that a paper published (sweeps/published.h): theirs, ours, how far
// apart they are, and in which settings the two differ.
//
//   perplexities, speeds, bytes   ours / theirs
//   nll, bits, accuracies         ours - theirs     (ComparesAsRatio)
//
// The error of a published number is not known, so the interval of a comparison is that of ours.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "client/tables/pivot.h"
#include "client/tables/sweep_results.h"
#include "sweeps/published.h"

namespace longrun::client {

// One published number.
struct PublishedLine {
  std::vector<std::string> at = {};  // by axis: our value if the sweep has it, else as published
  std::int64_t context_length = 0;
  double theirs = 0.0;
  // Our number's status: that of PivotCell, or "not_in_sweep" if the sweep does not ask for it.
  std::string status = "not_in_sweep";
  std::optional<double> ours = {};
  std::optional<std::pair<double, double>> ours95 = {};  // its 95 % interval
  std::string ours_text = {};                            // "19.91±0.05", "diverged", "–"
  // ours / theirs or ours - theirs, and the same for the ends of the interval.
  std::optional<double> difference = {};
  std::optional<std::pair<double, double>> difference95 = {};
  // True if their number, give or take its reading error, is outside the 95 % interval of ours over
  // both sources of error.
  bool is_apart = false;
  std::vector<std::string> runs = {};
};

struct PublishedSetting {
  std::string key;
  Json theirs = {};
  std::vector<Json> ours = {};  // each value once; empty: the sweep's runs do not have it
};

struct PublishedComparison {
  PublishedTable published;
  bool is_ratio = false;
  std::string metric_words = {};          // "perplexity"
  std::string ours_title = {};            // of our table; "" if there is none
  std::vector<PublishedLine> lines = {};  // in the order of the file
  std::size_t n_published = 0;            // published numbers that `where` keeps
  std::size_t n_measured = 0;             // those for which the sweep has a number
  std::string error_legend = {};          // of the intervals; "": there are none
  std::vector<std::string> lacking = {};  // axes or metric that the sweep lacks, so nothing fits
  std::vector<PublishedSetting> differing = {}, absent = {}, equal = {};
};

// `request` may have `where` and the published metric. A condition on a published axis or on the
// context length selects published numbers; any other condition selects ours. If several of our
// tables fit, only those with the published dataset, split and protocol count. kInvalidArgument for
// anything else in the request, for a value of `where` that does not exist, and if several tables
// are left.
Result<PublishedComparison> CompareWithPublished(const std::vector<SweepResults>& results,
                                                 PublishedTable published, PivotRequest request);

// `name` is one of sweeps/published/, or a path: with a slash, or ending in .yaml.
Result<PublishedTable> ReadPublishedTable(const std::string& name);

}  // namespace longrun::client
