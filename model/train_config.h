// The recipe: how a model is trained, with every default written in. Torch-free, so that the
// coordinator, the client and the trainer read the same structs.
//
// The JSON form is a part of the canonical run (sweeps/run.h), so the names must not change.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/enum_names.h"
#include "base/json.h"
#include "base/status.h"
#include "model/data/order.h"
#include "model/precision.h"

namespace longrun {

enum class Objective {
  kCausalLm,  // predict the next token at every position
  kMaskedLm,  // predict the tokens that `mask` hides
};
template <>
struct EnumNames<Objective> {
  static constexpr std::array<std::string_view, 2> kNames = {"causal_lm", "masked_lm"};
};

// What a training sample is (model/sample_source/).
enum class SampleKind {
  kWindows,           // train_length tokens of the joined text
  kDocuments,         // the beginning of one document, with padding after a shorter one
  kDocumentsWithBos,  // the same, of the document after a begin-of-text token
};
template <>
struct EnumNames<SampleKind> {
  static constexpr std::array<std::string_view, 3> kNames = {"windows", "documents",
                                                             "documents_with_bos"};
};

enum class OptimizerKind { kAdamw };
template <>
struct EnumNames<OptimizerKind> {
  static constexpr std::array<std::string_view, 1> kNames = {"adamw"};
};

struct OptimizerConfig {
  OptimizerKind name = OptimizerKind::kAdamw;
  double lr = 6e-4;
  double min_lr = 6e-5;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;  // on tensors with two or more dimensions
  double grad_clip = 1.0;     // global norm; 0 turns it off
};

// All begin with a linear warm-up.
enum class ScheduleKind { kCosine, kConstant, kLinear };
template <>
struct EnumNames<ScheduleKind> {
  static constexpr std::array<std::string_view, 3> kNames = {"cosine", "constant", "linear"};
};

struct ScheduleConfig {
  ScheduleKind name = ScheduleKind::kCosine;
  std::int64_t warmup_tokens = 0;
};

struct ValidateConfig {
  std::int64_t every = 0;   // tokens of training between two validations; 0: never
  std::int64_t tokens = 0;  // tokens scored each time
  std::int64_t length = 0;  // tokens in a window; 0: train_length
};

// "train.mask" of a masked language model (model/data/masking.h). The defaults are BERT's (Devlin
// et al. 2019, arXiv:1810.04805, section 3.1), the names those of transformers'
// DataCollatorForLanguageModeling.
struct MaskConfig {
  double probability = 0.15;         // that a token must be predicted
  double mask_replace_prob = 0.8;    // that such a token is replaced by the mask token,
  double random_replace_prob = 0.1;  // or by a random one; else it stays unchanged
  std::int64_t token = -1;           // id of the mask token
};

// "train": the recipe. Steps = ceil(tokens / batch_tokens).
struct TrainConfig {
  std::int64_t train_length = 0;  // T, tokens in a sequence
  std::int64_t tokens = 0;
  std::int64_t batch_tokens = 0;  // tokens in an optimiser step, a multiple of train_length
  Precision precision = Precision::kFp32;
  // Attention may leave out the oldest keys once they provably hold less than this fraction of
  // every row (kernels/attention.h); 0: none. Evaluations have a bound of their own.
  double skip_epsilon = 0.0;
  OrderKind order = OrderKind::kRandom;
  SampleKind samples = SampleKind::kWindows;
  Objective objective = Objective::kCausalLm;
  MaskConfig mask = {};  // read only with masked_lm
  OptimizerConfig optimizer = {};
  ScheduleConfig schedule = {};
  ValidateConfig validate = {};
  // The positions of a sample's tokens, resolved (model/position_schedule/); null: plain ones.
  Json positions = {};
  // The extension in force during training, resolved (model/extension/); null: none.
  Json extension = {};

  // With samples shorter than T, tokens and batch_tokens count the padding too.
  std::int64_t steps() const { return (tokens + batch_tokens - 1) / batch_tokens; }
  std::int64_t batch_sequences() const { return batch_tokens / train_length; }
  // Tokens in a window of the validation.
  std::int64_t validation_length() const {
    return validate.length > 0 ? validate.length : train_length;
  }
  bool takes_documents() const { return samples != SampleKind::kWindows; }
  bool is_masked() const { return objective == Objective::kMaskedLm; }
  // optimizer: {..., "betas": [beta1, beta2]}. "objective" and "mask" are present only with
  // masked_lm, "samples" only if they are not windows, "positions" only if they are not plain,
  // "extend" only with an extension, and "skip_epsilon" and "length" of "validate" only if they are
  // not 0, so that these members change no other run's key.
  Json ToJson() const;
  static Result<TrainConfig> FromJson(const Json& train);  // exactly the known keys
  Status Check() const;
};

}  // namespace longrun
