#include "model/sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/str.h"

namespace longrun {
namespace {

struct Candidate {
  std::size_t id = 0;
  double p = 0.0;  // not normalised: exp((logit - the largest) / temperature)
};

// Keeps the smallest set, most likely first, whose p add up to top_p of the total; at least one.
void KeepNucleus(double top_p, std::vector<Candidate>& by_p) {
  const double all = std::accumulate(by_p.begin(), by_p.end(), 0.0,
                                     [](double sum, const Candidate& c) { return sum + c.p; });
  double kept = 0.0;
  std::size_t n = 0;
  while (n < by_p.size() && (n == 0 || kept < top_p * all)) kept += by_p[n++].p;
  by_p.resize(n);
}

}  // namespace

Status Sampling::Check() const {
  if (!(temperature >= 0.0) || !std::isfinite(temperature)) {
    return Status(Code::kInvalidArgument,
                  Str("--temperature: expected 0 (the most likely token each time) or more, found ",
                      temperature));
  }
  if (top_k < 0) {
    return Status(Code::kInvalidArgument,
                  Str("--top-k: expected 0 (all tokens) or more, found ", top_k));
  }
  if (!(top_p > 0.0 && top_p <= 1.0)) {
    return Status(Code::kInvalidArgument,
                  Str("--top-p: expected a number above 0 and up to 1, found ", top_p));
  }
  if (temperature == 0.0 && (top_k > 0 || top_p < 1.0)) {
    return Status(Code::kInvalidArgument,
                  Str(top_k > 0 ? "--top-k" : "--top-p",
                      ": limits the tokens to sample from, but --temperature 0 does not sample: "
                      "give a temperature above 0 (1 keeps the model's own probabilities)"));
  }
  return Status();
}

Result<std::int64_t> ChooseToken(std::span<const double> logits, const Sampling& sampling, double u,
                                 std::span<const std::int32_t> held_back) {
  const auto may_be_chosen = [&](std::size_t id) {
    return std::ranges::find(held_back, static_cast<std::int32_t>(id)) == held_back.end();
  };
  std::size_t best = logits.size();
  for (std::size_t id = 0; id < logits.size(); ++id) {
    if (!std::isfinite(logits[id])) {
      return Status(Code::kAborted, Str("the model gave token ", id, " the logit ", logits[id]));
    }
    if (may_be_chosen(id) && (best == logits.size() || logits[id] > logits[best])) best = id;
  }
  LR_CHECK(best < logits.size());
  if (sampling.temperature == 0.0) return static_cast<std::int64_t>(best);

  std::vector<Candidate> candidates;
  candidates.reserve(logits.size());
  for (std::size_t id = 0; id < logits.size(); ++id) {
    if (!may_be_chosen(id)) continue;
    candidates.push_back(
        {.id = id, .p = std::exp((logits[id] - logits[best]) / sampling.temperature)});
  }
  // Compare logits, not p: a low temperature makes all p 0.
  const auto more_likely = [&](const Candidate& a, const Candidate& b) {
    return logits[a.id] != logits[b.id] ? logits[a.id] > logits[b.id] : a.id < b.id;
  };
  if (sampling.top_k > 0 && static_cast<std::size_t>(sampling.top_k) < candidates.size()) {
    const auto end = candidates.begin() + sampling.top_k;
    std::nth_element(candidates.begin(), end, candidates.end(), more_likely);
    candidates.erase(end, candidates.end());
  }
  if (sampling.top_p < 1.0) {
    std::sort(candidates.begin(), candidates.end(), more_likely);
    KeepNucleus(sampling.top_p, candidates);
  }
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& a, const Candidate& b) { return a.id < b.id; });

  double all = 0.0;
  for (const Candidate& c : candidates) all += c.p;
  double sum = 0.0;
  for (const Candidate& c : candidates) {
    sum += c.p;
    if (sum > u * all) return static_cast<std::int64_t>(c.id);
  }
  return static_cast<std::int64_t>(best);  // u * all was rounded up to all
}

}  // namespace longrun
