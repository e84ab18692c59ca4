#include "client/tables/worse_than_guessing.h"

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <map>
#include <optional>
#include <set>

#include "base/json.h"
#include "base/str.h"
#include "client/tables/pivot_axes.h"
#include "client/words/render.h"
#include "sweeps/evaluated_dataset.h"
#include "sweeps/extended.h"

namespace longrun::client {
namespace {

constexpr std::size_t kShown = 3;

// Whether the loss is above that of guessing by more than its error over the text, if it has one.
// Few tokens, which have none, say nothing.
bool IsWorse(const RowBody& body, double vocabulary) {
  constexpr double kSurely = 2.0;  // standard errors
  constexpr std::int64_t kFewTokens = 100;
  if (!body.se && body.n && *body.n < kFewTokens) return false;
  return *body.value - kSurely * body.se.value_or(0.0) > std::log(vocabulary);
}

// The size of the vocabulary of a run that trains.
std::optional<double> VocabularyOf(const ResultRun& run) {
  const Json& resolved = run.resolved;
  if (!resolved.contains("model") || !resolved.at("train").contains("tokens")) return std::nullopt;
  const double size = resolved.at("model").value("vocab_size", 0.0);
  return size > 0.0 ? std::optional(size) : std::nullopt;
}

std::string PerplexityText(double nll) {
  char text[64];
  std::snprintf(text, sizeof text, "%.3g", std::exp(nll));
  return text;
}

}  // namespace

std::string WorseThanGuessing(const std::vector<SweepResults>& results) {
  std::vector<std::string> bad;
  std::string sweep;
  for (const SweepResults& result : results) {
    std::map<std::string, const ResultRun*> runs;
    for (const ResultRun& run : result.runs) runs[run.run_key] = &run;
    std::set<std::string> seen;
    for (const ResultRow& row : result.rows) {
      const RowBody& body = row.body;
      const bool is_loss = body.metric == "nll" && body.status == "ok" && body.value &&
                           !body.variant && body.context_length &&
                           ExtensionOf(row.evaluation).is_null() &&
                           !EvaluatedDatasetOf(row.evaluation);
      const auto run = runs.find(row.run_key);
      if (!is_loss || run == runs.end()) continue;
      const RunRef ref = MakeRunRef(result.name, *run->second);
      const std::optional<double> vocabulary = VocabularyOf(*run->second);
      const bool is_bad =
          vocabulary && *body.context_length == ref.train_length && IsWorse(body, *vocabulary);
      if (!is_bad || !seen.insert(row.run_key).second) continue;
      if (sweep.empty()) sweep = result.name;
      bad.push_back(Str("run ", ShortId(row.run_key), " (", AxisText(RunValue(ref, "position")),
                        ", train length ", ref.train_length, ", seed ", AxisText(ref.seed),
                        ") has perplexity ", PerplexityText(*body.value), ", guessing has ",
                        static_cast<std::int64_t>(*vocabulary)));
    }
  }
  if (bad.empty()) return "";
  const std::size_t n_runs = bad.size();
  if (n_runs > kShown) bad.resize(kShown);
  return Str(
      n_runs == 1 ? "1 run is" : Str(n_runs, " runs are"),
      " worse at the train length than a guess that gives every token the same probability: ",
      Join(bad, "; "), n_runs > kShown ? Str("; and ", n_runs - kShown, " more") : "",
      ". The training diverged although its loss stayed finite, or was too short: `longrun "
      "plot ",
      sweep,
      " --what loss` shows which. If it diverged, lower train.optimizer.lr or lengthen "
      "train.schedule.warmup_tokens");
}

}  // namespace longrun::client
