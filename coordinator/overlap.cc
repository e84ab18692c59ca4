// See overlap.h.
#include "coordinator/overlap.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "base/str.h"
#include "model/data/dataset.h"
#include "model/data/overlap.h"
#include "sweeps/evaluated_dataset.h"

namespace longrun::coordinator {
namespace {

constexpr const char* kTrain = "train";

// The text that an evaluation reads, and the dataset whose training split is searched for it.
struct Pair {
  EvaluatedDataset text;
  std::string split;
  std::int64_t n_tokens = 0;  // from the beginning of the split; 0: all
  EvaluatedDataset trained_on;

  auto Key() const { return std::tie(text.digest, split, n_tokens, trained_on.digest); }
  bool operator<(const Pair& other) const { return Key() < other.Key(); }
};

std::set<Pair> PairsOf(const Sweep& sweep) {
  std::set<Pair> pairs;
  for (const PlannedRun& run : sweep.runs) {
    if (!run.run.trains()) continue;
    for (const PlannedEvaluation& evaluation : run.evaluations) {
      const std::optional<EvaluatedDataset> read = EvaluatedDatasetOf(evaluation.evaluation);
      if (!read) continue;
      const Json& params = evaluation.evaluation.begin().value();
      pairs.insert({.text = *read,
                    .split = params.value("split", ""),
                    .n_tokens = params.value("score_tokens", std::int64_t{0}),
                    .trained_on = {.name = run.dataset_name, .digest = run.run.dataset_digest}});
    }
  }
  return pairs;
}

Result<Dataset> OpenByDigest(const std::vector<DatasetRow>& datasets, const EvaluatedDataset& one) {
  for (const DatasetRow& row : datasets) {
    if (row.info.digest != one.digest) continue;
    ASSIGN_OR_RETURN(Dataset dataset, Dataset::Open(row.folder));
    if (dataset.digest() == one.digest) return dataset;
    return Status(Code::kDataLoss, Str(row.folder, " holds another dataset than the registered"));
  }
  return Status(Code::kNotFound, Str("dataset \"", one.name, "\" is not registered"));
}

struct Compared {
  TextOverlap overlap = {};
  bool is_whole_text = true;
  std::int64_t n_searched = 0, n_train = 0;
};

Result<Compared> Compare(const std::vector<DatasetRow>& datasets, const Pair& pair) {
  ASSIGN_OR_RETURN(const Dataset text, OpenByDigest(datasets, pair.text));
  ASSIGN_OR_RETURN(const Dataset trained_on, OpenByDigest(datasets, pair.trained_on));
  ASSIGN_OR_RETURN(const TokenSplit* const read, text.Split(pair.split));
  ASSIGN_OR_RETURN(const TokenSplit* const train, trained_on.Split(kTrain));
  const std::int64_t n_split = read->n_tokens();
  const std::int64_t n_wanted = pair.n_tokens > 0 ? std::min(pair.n_tokens, n_split) : n_split;
  const std::int64_t n_text = std::min(n_wanted, kOverlapTextMax);
  Compared compared = {.is_whole_text = n_text == n_split,
                       .n_searched = std::min(train->n_tokens(), kOverlapSearchedMax),
                       .n_train = train->n_tokens()};
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(n_text));
  RETURN_IF_ERROR(read->Read(0, tokens));
  ASSIGN_OR_RETURN(compared.overlap, FindOverlap(tokens, *train, compared.n_searched));
  return compared;
}

// "16,384".
std::string Grouped(std::int64_t n) {
  std::string digits = Str(n);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<std::size_t>(at), ",");
  }
  return digits;
}

// "12", "0.39"; "100" only of all of them.
std::string PercentText(std::int64_t n, std::int64_t of) {
  const double percent = 100.0 * static_cast<double>(n) / static_cast<double>(of);
  if (n == of) return "100";
  char text[32] = {};
  if (percent >= 10.0) {
    std::snprintf(text, sizeof text, "%.0f", std::min(99.0, percent));
  } else {
    std::snprintf(text, sizeof text, "%.2g", percent);
  }
  return text;
}

}  // namespace

std::vector<std::string> OverlapNotes(const std::vector<DatasetRow>& datasets, const Sweep& sweep) {
  std::vector<std::string> notes;
  for (const Pair& pair : PairsOf(sweep)) {
    const std::string text = Str(pair.text.name, ":", pair.split);
    const std::string of_train = Str("the training split of ", pair.trained_on.name);
    const Result<Compared> compared = Compare(datasets, pair);
    if (!compared.ok()) {
      notes.push_back(Str("whether ", text, " occurs in ", of_train,
                          " is not known: ", compared.status().message()));
      continue;
    }
    const TextOverlap& overlap = compared->overlap;
    if (overlap.n_shared == 0 && overlap.is_exact) continue;
    const bool is_all_searched = compared->n_searched == compared->n_train;
    notes.push_back(
        Str(overlap.is_exact ? "" : "at least ", PercentText(overlap.n_shared, overlap.n_tokens),
            " % of the ", compared->is_whole_text ? "" : "first ", Grouped(overlap.n_tokens),
            " tokens of ", text, " occur in ",
            is_all_searched ? "" : Str("the first ", Grouped(compared->n_searched), " tokens of "),
            of_train, ", in stretches of ", kOverlapTokens, " tokens or more"));
  }
  return notes;
}

}  // namespace longrun::coordinator
