// The unigram baseline: how well the frequency of each token predicts the text,
// without any context.
//
//   p(id) = (count(id) + 1) / (sum of counts + number of real ids)        add-one smoothing
//
// Counts come from the train split. Real ids are those that the tokenizer can produce: the text
// tokens and the end of text. Any other id (padding rows) has probability 0 and infinite NLL.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "model/data/dataset.h"
#include "model/language_model.h"

namespace longrun {

class UnigramModel final : public LanguageModel {
 public:
  // kNotFound if there is no train split.
  static Result<std::unique_ptr<UnigramModel>> Fit(const Dataset& dataset);

  Result<std::vector<std::vector<float>>> Nll(std::span<const std::int32_t> tokens,
                                              std::span<const Window> windows) override;
  Result<std::vector<std::vector<float>>> MaskedNll(
      std::span<const MaskedSequence> sequences) override;

 private:
  explicit UnigramModel(std::vector<float> nll_of_id) : nll_of_id_(std::move(nll_of_id)) {}
  float NllOf(std::int32_t id) const { return nll_of_id_[static_cast<std::size_t>(id)]; }

  std::vector<float> nll_of_id_;
};

}  // namespace longrun
