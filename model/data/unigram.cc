#include "model/data/unigram.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/check.h"

namespace longrun {
namespace {

constexpr std::int64_t kReadTokens = std::int64_t{1} << 20;

}  // namespace

Result<std::unique_ptr<UnigramModel>> UnigramModel::Fit(const Dataset& dataset) {
  Result<const TokenSplit*> train = dataset.Split("train");
  if (!train) return std::move(train).status().In("fitting the unigram baseline");
  const std::int64_t n_tokens = (*train)->n_tokens();
  std::vector<std::int64_t> counts(static_cast<std::size_t>(dataset.vocab_size()), 0);
  std::vector<std::int32_t> tokens;
  for (std::int64_t begin = 0; begin < n_tokens; begin += kReadTokens) {
    tokens.resize(static_cast<std::size_t>(std::min(kReadTokens, n_tokens - begin)));
    RETURN_IF_ERROR((*train)->Read(begin, tokens));
    for (const std::int32_t id : tokens) counts[static_cast<std::size_t>(id)] += 1;
  }

  const std::vector<std::int32_t> ids = IdsOfText(dataset);
  std::int64_t total = 0;
  for (const std::int32_t id : ids) total += counts[static_cast<std::size_t>(id)] + 1;
  std::vector<float> nll_of_id(counts.size(), std::numeric_limits<float>::infinity());
  for (const std::int32_t id : ids) {
    const auto i = static_cast<std::size_t>(id);
    const double p = static_cast<double>(counts[i] + 1) / static_cast<double>(total);
    nll_of_id[i] = static_cast<float>(-std::log(p));
  }
  return std::unique_ptr<UnigramModel>(new UnigramModel(std::move(nll_of_id)));
}

Result<std::vector<std::vector<float>>> UnigramModel::Nll(std::span<const std::int32_t> tokens,
                                                          std::span<const Window> windows) {
  std::vector<std::vector<float>> nll;
  for (const Window& window : windows) {
    std::vector<float> row;
    for (std::int64_t t = window.score_begin; t < window.score_end; ++t) {
      row.push_back(NllOf(tokens[static_cast<std::size_t>(t)]));
    }
    nll.push_back(std::move(row));
  }
  return nll;
}

// A unigram model ignores the tokens around a hidden one.
Result<std::vector<std::vector<float>>> UnigramModel::MaskedNll(
    std::span<const MaskedSequence> sequences) {
  std::vector<std::vector<float>> nll;
  nll.reserve(sequences.size());
  for (const MaskedSequence& sequence : sequences) {
    std::vector<float>& row = nll.emplace_back();
    row.reserve(sequence.targets.size());
    for (const std::int32_t id : sequence.targets) row.push_back(NllOf(id));
  }
  return nll;
}

}  // namespace longrun
