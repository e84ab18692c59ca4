// See prompts.h.
#include "coordinator/prompts.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/str.h"
#include "model/data/dataset.h"
#include "model/data/tokenizer.h"
#include "model/data/tokenizer_file.h"
#include "model/evaluation/evaluation.h"
#include "sweeps/evaluated_dataset.h"

namespace longrun::coordinator {
namespace {

// From here on, a user is told that the prompts are longer.
constexpr double kMuchLonger = 1.1;

// How a dataset's prompts become tokens.
struct PromptText {
  std::unique_ptr<Tokenizer> tokenizer;
  std::int32_t bos = -1;
};

// The prompts of one evaluation of one dataset, for all runs and under all extensions.
struct Measured {
  const Evaluation* what = nullptr;
  std::string dataset = {};  // its name in the sweep: content may have several
  Json params = {};
  std::map<std::int64_t, std::int64_t> longest = {};  // context length -> tokens
  std::vector<std::int64_t> too_short = {};           // context lengths into which no prompt fits
  std::string why_too_short = {};                     // of the last of them
};

class PromptMeter {
 public:
  explicit PromptMeter(const std::vector<DatasetRow>& datasets) : datasets_(datasets) {}

  void Measure(const Evaluation& what, const std::string& dataset, const std::string& digest,
               PlannedEvaluation& planned) {
    const PromptText* const text = TextOf(digest);
    if (text == nullptr) return;
    Measured& measured = measured_[{digest, planned.text.evaluation}];
    if (measured.what == nullptr) {
      measured = {.what = &what, .dataset = dataset, .params = planned.evaluation.begin().value()};
    }
    for (ExpectedCell& cell : planned.cells) {
      const auto [longest, is_new] = measured.longest.try_emplace(cell.context_length, 0);
      if (is_new) {
        longest->second =
            what.longest_prompt(*text->tokenizer, text->bos, measured.params, cell.context_length);
        NoteIfTooShort(*text, cell.context_length, measured);
      }
      cell.prompt_tokens = longest->second;
    }
  }

  std::vector<std::string> Notes() const {
    std::vector<std::string> notes;
    for (const auto& [key, measured] : measured_) {
      const char* const param = measured.params.contains("protocol") ? "protocol" : "filler";
      const std::string of =
          Str(measured.what->name, " (", param, ": ", measured.params.at(param).get<std::string>(),
              "): with the tokenizer of dataset ", measured.dataset);
      if (!measured.too_short.empty()) {
        std::vector<std::string> lengths;
        for (const std::int64_t length : measured.too_short) lengths.push_back(Str(length));
        notes.push_back(Str(of, ", a prompt does not fit into ", Join(lengths, ", "), " tokens (",
                            measured.why_too_short, "): such cells will be not_applicable"));
      }
      std::vector<std::string> longer;
      for (const auto& [length, tokens] : measured.longest) {
        if (static_cast<double>(tokens) <= kMuchLonger * static_cast<double>(length)) continue;
        longer.push_back(Str(tokens, " tokens at context length ", length));
      }
      if (longer.empty()) continue;
      notes.push_back(Str(of, ", the longest prompt has ", Join(longer, ", "), "; ", param,
                          ": fitted makes prompts that fit"));
    }
    return notes;
  }

 private:
  static void NoteIfTooShort(const PromptText& text, std::int64_t length, Measured& measured) {
    if (measured.what->why_no_prompt_fits == nullptr) return;
    std::string why =
        measured.what->why_no_prompt_fits(*text.tokenizer, text.bos, measured.params, length);
    if (why.empty()) return;
    measured.too_short.push_back(length);
    measured.why_too_short = std::move(why);
  }

  // Null if the dataset cannot be read here. A worker may have a copy all the same.
  const PromptText* TextOf(const std::string& digest) {
    const auto [found, is_new] = texts_.try_emplace(digest);
    if (is_new) {
      for (const DatasetRow& row : datasets_) {
        if (row.info.digest == digest && Open(row, found->second)) break;
      }
    }
    return found->second.tokenizer == nullptr ? nullptr : &found->second;
  }

  static bool Open(const DatasetRow& row, PromptText& text) {
    const Result<Dataset> dataset = Dataset::Open(row.folder);
    if (!dataset.ok() || dataset->digest() != row.info.digest) return false;
    Result<std::unique_ptr<Tokenizer>> tokenizer = OpenTokenizerOf(row.folder);
    if (!tokenizer.ok()) return false;
    text = {.tokenizer = std::move(tokenizer).value(), .bos = dataset->bos_id()};
    return true;
  }

  const std::vector<DatasetRow>& datasets_;
  std::map<std::string, PromptText> texts_;                           // by digest
  std::map<std::pair<std::string, std::string>, Measured> measured_;  // by digest and evaluation
};

}  // namespace

std::vector<std::string> MeasurePrompts(const std::vector<DatasetRow>& datasets, Sweep& sweep) {
  PromptMeter meter(datasets);
  for (PlannedRun& run : sweep.runs) {
    for (PlannedEvaluation& planned : run.evaluations) {
      const auto what = FindEvaluation(planned.evaluation.begin().key());
      if (!what.ok() || (*what)->longest_prompt == nullptr) continue;
      const std::optional<EvaluatedDataset> other = EvaluatedDatasetOf(planned.evaluation);
      meter.Measure(**what, other ? other->name : run.dataset_name,
                    DigestOfText(planned.evaluation, run.run.dataset_digest), planned);
    }
  }
  return meter.Notes();
}

}  // namespace longrun::coordinator
