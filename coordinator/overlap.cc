// See overlap.h.
#include "coordinator/overlap.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <optional>
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

  // With the names, since the note contains them.
  std::string Key() const {
    return Str(text.name, " ", text.digest, " ", split, " ", n_tokens, " ", trained_on.name, " ",
               trained_on.digest);
  }
};

// The name under which a dataset is registered, else the beginning of its digest.
std::string NameOf(const std::vector<DatasetRow>& datasets, const std::string& digest) {
  for (const DatasetRow& row : datasets) {
    if (row.info.digest == digest) return row.info.name;
  }
  return digest.substr(0, 8);
}

// All pairs of the sweep, by Pair::Key().
std::map<std::string, Pair> PairsOf(const std::vector<DatasetRow>& datasets, const Sweep& sweep) {
  std::map<std::string, Pair> pairs;
  for (const PlannedRun& run : sweep.runs) {
    if (!run.run.trains()) continue;
    const EvaluatedDataset own = {.name = run.dataset_name, .digest = run.run.dataset_digest};
    std::vector<EvaluatedDataset> trained_on = {own};
    for (const std::string& digest : run.trained_before) {
      if (digest == own.digest) continue;
      trained_on.push_back({.name = NameOf(datasets, digest), .digest = digest});
    }
    for (const PlannedEvaluation& evaluation : run.evaluations) {
      const Json& params = evaluation.evaluation.begin().value();
      if (!params.contains("split")) continue;
      const EvaluatedDataset text = EvaluatedDatasetOf(evaluation.evaluation).value_or(own);
      for (const EvaluatedDataset& training : trained_on) {
        // The splits of one dataset share no document.
        if (training.digest == text.digest) continue;
        Pair pair = {.text = text,
                     .split = params.at("split"),
                     .n_tokens = params.value("score_tokens", std::int64_t{0}),
                     .trained_on = training};
        pairs.emplace(pair.Key(), std::move(pair));
      }
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

// "": nothing is shared.
std::string NoteOf(const Pair& pair, const Compared& compared) {
  const TextOverlap& overlap = compared.overlap;
  if (overlap.n_shared == 0 && overlap.is_exact) return "";
  const bool is_all_searched = compared.n_searched == compared.n_train;
  return Str(overlap.is_exact ? "" : "at least ", PercentText(overlap.n_shared, overlap.n_tokens),
             " % of the ", compared.is_whole_text ? "" : "first ", Grouped(overlap.n_tokens),
             " tokens of ", pair.text.name, ":", pair.split, " occur in ",
             is_all_searched ? "" : Str("the first ", Grouped(compared.n_searched), " tokens of "),
             "the training split of ", pair.trained_on.name, ", in stretches of ", kOverlapTokens,
             " tokens or more");
}

}  // namespace

std::vector<std::string> OverlapSearch::Notes(const std::vector<DatasetRow>& datasets,
                                              const Sweep& sweep) {
  std::vector<std::string> notes;
  std::int64_t n_searched = 0;
  for (const auto& [key, pair] : PairsOf(datasets, sweep)) {
    std::optional<std::string> note;
    {
      const std::scoped_lock lock(mutex_);
      if (const auto known = notes_.find(key); known != notes_.end()) note = known->second;
    }
    if (!note) {
      const auto unknown = [&](const std::string& why) {
        notes.push_back(Str("it is not known whether ", pair.text.name, ":", pair.split,
                            " occurs in the training split of ", pair.trained_on.name, ": ", why));
      };
      if (n_searched >= n_searched_max_) {
        unknown("`longrun plan` compares only some texts at a time; call it again");
        continue;
      }
      const Result<Compared> compared = Compare(datasets, pair);
      if (!compared.ok()) {
        unknown(std::string(compared.status().message()));
        continue;
      }
      n_searched += compared->n_searched;
      note = NoteOf(pair, *compared);
      const std::scoped_lock lock(mutex_);
      notes_.emplace(key, *note);
    }
    if (!note->empty()) notes.push_back(std::move(*note));
  }
  return notes;
}

}  // namespace longrun::coordinator
