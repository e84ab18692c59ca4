// One pass of a model over the beginning of a document gives the NLLs of all windows that begin
// there, at every length of a task: each document is read once, as far as the longest length
// needs. A model that reads a prefix differently in a longer text (LanguageModel::SharesPrefixes)
// makes one pass per length. The numbers are the same to the bit either way.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "model/data/documents.h"
#include "model/language_model.h"

namespace longrun {

// The NLLs of the first targets of documents, by the documents' first tokens. For one model and one
// text. Holds 2^26 NLLs (256 MiB) and then accepts no more.
class PrefixStore {
 public:
  // Those of the document, if there are at least n; else an empty span.
  std::span<const float> Find(std::int64_t document, std::int64_t n) const;
  void Keep(std::int64_t document, std::span<const float> nll);

 private:
  std::map<std::int64_t, std::vector<float>> kept_;
  std::int64_t n_kept_ = 0;
};

struct PrefixTask {
  // Every window begins where one of them does. In order.
  std::span<const TextSpan> documents = {};
  // How many targets of a document, counted from its first one, the windows need; a shorter
  // document has fewer.
  std::int64_t n_targets = 0;
  // The same for all lengths of the task. A pass reads as far as the largest of them that the model
  // can read.
  std::vector<std::int64_t> of_lengths = {};
};

// The same model, for such windows.
class PrefixModel final : public LanguageModel {
 public:
  // Model and store must outlive this.
  PrefixModel(LanguageModel& model, PrefixTask task, PrefixStore& store);

  // `tokens` has PrefixEnd() tokens of each document that is read, or all that there are.
  Result<std::vector<std::vector<float>>> Nll(std::span<const std::int32_t> tokens,
                                              std::span<const Window> windows) override;

 private:
  Result<std::vector<float>> Pass(std::span<const std::int32_t> tokens, const TextSpan& document,
                                  bool bos, std::int64_t n);
  Result<std::span<const float>> NllOf(std::span<const std::int32_t> tokens,
                                       const TextSpan& document, bool bos);

  LanguageModel& model_;
  PrefixTask task_;  // of_lengths: descending
  PrefixStore& store_;
  std::int64_t last_document_ = -1;
  std::vector<float> last_;  // the NLLs of that document
};

// The end of the tokens that a pass over n targets of the document may read.
std::int64_t PrefixEnd(const TextSpan& document, std::int64_t n);

}  // namespace longrun
