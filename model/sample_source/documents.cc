// One document per sample, as in the fine-tunings of PoSE and of position interpolation: Zhu et al.
// 2023 (arXiv:2309.10400), section 4.1; dwzhu-pku/PoSE, src/train_pose.py.
//
//   Lx = min(tokens of the text, tokens from which the schedule takes a sample; plain: T)
//   n = min(Lx, T) tokens, chosen among the first Lx and numbered by the schedule; plain: the first
//   target[t] = token[t + 1] for t < n - 1; the last token has none, and neither has padding
//
// The text is the document, or with `documents_with_bos` a begin-of-text token and the document, as
// the tokenizers of those fine-tunings give it. A document has its end-of-text tokens where the
// dataset has them. A text of a single token has no target and is no sample. Sample g is document
// ItemOf(g) of the others (model/data/order.h): with `shuffled`, each once in an epoch.
#include <algorithm>
#include <cstddef>
#include <memory>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "base/str.h"
#include "kernels/cross_entropy.h"
#include "model/data/order.h"
#include "model/position_schedule/schedule.h"
#include "model/sample_source/document_check.h"
#include "model/sample_source/source.h"

namespace longrun {
namespace {

class Documents final : public SampleSource {
 public:
  Documents(const SampleRequest& request, std::vector<std::size_t> documents)
      : split_(request.split),
        train_(request.train),
        seed_(request.seed),
        bos_id_(request.train.samples == SampleKind::kDocumentsWithBos ? request.bos_id : -1),
        documents_(std::move(documents)) {}

  SampleSize Size(std::int64_t g) const override {
    const std::int64_t n = std::min(n_bos() + DocumentOf(g).n_tokens, train_.train_length);
    return {.n_tokens = n, .n_targets = n - 1};
  }

  Status Read(std::int64_t g, Sample& sample) const override {
    const auto [begin, n_document] = DocumentOf(g);
    const std::int64_t n_of_text = n_bos() + n_document;
    const std::int64_t n_tokens = std::min(n_of_text, train_.train_length);
    const auto n = static_cast<std::ptrdiff_t>(n_tokens);
    const auto length = static_cast<std::size_t>(train_.train_length);
    sample.tokens.assign(length, kPaddingToken);
    const std::span tokens = std::span(sample.tokens).first(static_cast<std::size_t>(n));
    std::vector<std::int64_t> places(tokens.size());
    if (train_.positions.is_null()) {
      std::iota(places.begin(), places.end(), 0);
    } else {
      const std::int64_t n_text =
          std::min(n_of_text, ScheduleTextLength(train_.positions, train_.train_length));
      NumberedSample numbered = NumberSample(train_.positions, n_tokens, n_text, seed_, g);
      // The last place is only a target, and may lie behind the document.
      numbered.place.pop_back();
      places = std::move(numbered.place);
      sample.positions = std::move(numbered.position);
      sample.positions.resize(length, 0);
    }
    RETURN_IF_ERROR(ReadText(begin, places, tokens));
    sample.targets.assign(length, kIgnoredTarget);
    std::copy(sample.tokens.begin() + 1, sample.tokens.begin() + n, sample.targets.begin());
    return Status();
  }

 private:
  std::int64_t n_bos() const { return bos_id_ >= 0 ? 1 : 0; }

  // The tokens at `places` of the text whose document begins at `begin`.
  Status ReadText(std::int64_t begin, std::span<const std::int64_t> places,
                  std::span<std::int32_t> tokens) const {
    if (n_bos() > 0 && places.front() == 0) {
      tokens.front() = bos_id_;
      places = places.subspan(1);
      tokens = tokens.subspan(1);
    }
    return ReadPlaces(split_, begin - n_bos(), places, tokens);
  }

  struct Document {
    std::int64_t begin = 0, n_tokens = 0;
  };
  Document DocumentOf(std::int64_t g) const {
    const std::span<const std::int64_t> starts = split_.document_starts();
    const std::size_t d = documents_[static_cast<std::size_t>(
        ItemOf(train_.order, seed_, static_cast<std::int64_t>(documents_.size()), g))];
    return {.begin = starts[d], .n_tokens = starts[d + 1] - starts[d]};
  }

  const TokenSplit& split_;
  const TrainConfig& train_;
  const std::uint64_t seed_;
  const std::int32_t bos_id_;                 // -1: texts are documents as they are
  const std::vector<std::size_t> documents_;  // the numbers of those with targets
};

// kInvalidArgument: there is no such token, or the documents begin with it already.
Status CheckBos(const SampleRequest& request) {
  if (request.bos_id < 0) {
    return Status(Code::kInvalidArgument,
                  "train.samples: documents_with_bos puts a begin-of-text token before each "
                  "document, but the dataset's tokenizer has neither a begin-of-text token nor an "
                  "end-of-text token: choose documents");
  }
  std::int32_t first = -1;
  RETURN_IF_ERROR(request.split.Read(0, std::span(&first, 1)));
  if (first != request.bos_id) return Status();
  return Status(Code::kInvalidArgument,
                Str("train.samples: documents_with_bos puts token ", request.bos_id,
                    " before each document, but the first document of the training split begins "
                    "with that token already: choose documents"));
}

}  // namespace

Result<std::unique_ptr<SampleSource>> OpenDocuments(const SampleRequest& request) {
  const std::span<const std::int64_t> starts = request.split.document_starts();
  const auto n_documents = static_cast<std::int64_t>(starts.size()) - 1;
  const SampleKind samples = request.train.samples;
  RETURN_IF_ERROR(
      CheckDocuments(samples, {.n_documents = n_documents, .n_tokens = request.split.n_tokens()}));
  const bool has_bos = samples == SampleKind::kDocumentsWithBos;
  if (has_bos) RETURN_IF_ERROR(CheckBos(request));
  std::vector<std::size_t> documents;
  for (std::size_t d = 0; d + 1 < starts.size(); ++d) {
    if (starts[d + 1] - starts[d] > (has_bos ? 0 : 1)) documents.push_back(d);
  }
  return std::unique_ptr<SampleSource>(std::make_unique<Documents>(request, std::move(documents)));
}

}  // namespace longrun
