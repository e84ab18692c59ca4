#include "model/train_config.h"

#include <algorithm>

#include "base/str.h"
#include "model/architecture/parameters.h"
#include "model/config.h"
#include "model/extension/extension.h"
#include "model/field_visitors.h"
#include "model/position/method.h"
#include "model/position_schedule/schedule.h"
#include "model/train_config_errors.h"
#include "model/train_fields.h"

namespace longrun {
namespace {

constexpr const char* kPositions = "positions";
constexpr const char* kExtend = "extend";

void AddErrors(std::string_view path, const std::vector<ParamError>& found, KeyErrors& errors) {
  for (const ParamError& error : found) {
    const std::string key = error.key.empty() ? std::string(path) : Str(path, ".", error.key);
    errors.Add(key, Status(error.code, Str(key, ": ", error.message)), error.others);
  }
}

// A schedule of the known ones, with its defaults; else null, and its errors.
Json ReadPositions(const Json& given, std::int64_t train_length, KeyErrors& errors) {
  const std::vector<ParamError> found = PositionScheduleErrors(given);
  AddErrors("train.positions", found, errors);
  if (!found.empty()) return {};
  return *ResolvePositionSchedule(given, std::max<std::int64_t>(train_length, 0));
}

// An extension of the known ones, with its defaults; else null, and its errors.
Json ReadExtension(const Json& given, std::int64_t train_length, KeyErrors& errors) {
  const Json whole = WithOriginalLength(given, train_length);
  const std::vector<ParamError> found = ExtensionErrors(whole);
  AddErrors("train.extend", found, errors);
  if (!found.empty()) return {};
  return *ResolveExtension(whole);
}

void CheckPositions(const TrainConfig& train, KeyErrors& errors) {
  AddErrors("train.positions", CheckPositionSchedule(train.positions, train.train_length), errors);
  if (!train.is_masked()) return;
  errors.Add(
      "train.positions.method",
      Invalid(Str("train.positions.method: ", train.positions.at("method").get<std::string>(),
                  " is for objective causal_lm, found masked_lm: leave out positions")),
      {"train.objective"});
}

void CheckSamples(const TrainConfig& train, KeyErrors& errors) {
  if (train.is_masked()) {
    errors.Add("train.samples",
               Invalid(Str("train.samples: ", EnumName(train.samples),
                           " is for objective causal_lm, found masked_lm: leave out samples")),
               {"train.objective"});
  }
  if (train.train_length == 1) {
    errors.Add("train.samples",
               Invalid(Str("train.samples: ", EnumName(train.samples),
                           " of train_length 1 have no token to predict, since the last token of a "
                           "document has no target: choose a train_length of 2 or more")),
               {"train.train_length"});
  }
}

void CheckMask(const MaskConfig& mask, KeyErrors& errors) {
  // A rounding may make 0.8 + 0.2 exceed 1.
  if (mask.mask_replace_prob + mask.random_replace_prob <= 1.0 + 1e-12) return;
  errors.Add("train.mask.random_replace_prob",
             Invalid(Str("train.mask.random_replace_prob: ", mask.random_replace_prob,
                         " and mask_replace_prob ", mask.mask_replace_prob,
                         " add up to more than 1; their sum must be at most 1, and the remaining "
                         "share of the chosen tokens stays unchanged")),
             {"train.mask.mask_replace_prob"});
}

// A method that numbers positions by a table, or in a few digits, reads no more of them.
void CheckValidationLength(const ModelConfig& model, const TrainConfig& train, KeyErrors& errors) {
  const auto method = FindPositionMethod(model.position.method);
  if (train.validate.length == 0 || !method.ok()) return;
  const auto terms = (*method)->terms(model.position.params, model.attention_shape());
  std::int64_t longest = kLengthMax;
  if (terms.ok() && terms->length_max) longest = *terms->length_max;
  if ((*method)->has_position_table) longest = std::min(longest, model.n_positions);
  if (train.validate.length <= longest) return;
  errors.Add("train.validate.length",
             Invalid(Str("train.validate.length: ", train.validate.length, " is more than the ",
                         longest, " positions of method \"", model.position.method, "\"; choose ",
                         longest, " or less")),
             {"position"});
}

// What the kernels cannot skip (AttentionKernelOptions) is refused: a second run would be trained
// to the same numbers in the same time. The biases of causal models are one-sided.
void CheckSkipping(const ModelConfig& model, KeyErrors& errors) {
  constexpr const char* kKey = "train.skip_epsilon";
  if (!model.causal) {
    errors.Add(kKey,
               Invalid(Str(kKey,
                           ": only attention with a causal mask skips keys in training, found "
                           "model.causal: false; leave out skip_epsilon")),
               {"model.causal"});
    return;
  }
  const Result<TermSpec> terms = TermsOf(model);
  if (!terms.ok()) return;  // a model with errors of its own has them reported
  const bool has_bias = terms->key_bias_slope || terms->key_bias_gate || terms->distance_bias;
  const bool grows = terms->rotation && !terms->rotation->growth.empty();
  if (has_bias && !grows && !terms->distance_network && !terms->content_position) return;
  errors.Add(kKey,
             Invalid(Str(kKey, ": attention cannot skip keys with position method \"",
                         model.position.method,
                         "\"; leave out skip_epsilon, or choose a method with a one-sided bias by "
                         "key or by distance, such as alibi or cable")),
             {"position"});
}

}  // namespace

Json TrainConfig::ToJson() const {
  Json json;
  FieldWriter writer(json, /*with_body=*/false);
  Fields(*this, writer);
  if (!positions.is_null()) json[kPositions] = positions;
  if (!extension.is_null()) json[kExtend] = extension;
  return json;
}

TrainConfig ReadTrain(const Json& train, KeyErrors& errors) {
  TrainConfig config;
  Json fields = train;
  if (fields.is_object()) {
    fields.erase(kPositions);
    fields.erase(kExtend);
  }
  if (!RefuseUnknownFields<TrainConfig>(fields, "train", /*with_body=*/false, errors)) {
    return config;
  }
  const bool is_masked = train.contains("objective") || train.contains("mask");
  if (is_masked) config.objective = Objective::kMaskedLm;  // so that both are read
  FieldReader reader(train, "train", errors);
  Fields(config, reader);
  if (train.contains(kPositions)) {
    config.positions = ReadPositions(train[kPositions], config.train_length, errors);
  }
  if (train.contains(kExtend)) {
    config.extension = ReadExtension(train[kExtend], config.train_length, errors);
  }
  return config;
}

Result<TrainConfig> TrainConfig::FromJson(const Json& train) {
  KeyErrors errors;
  TrainConfig config = ReadTrain(train, errors);
  RETURN_IF_ERROR(errors.First());
  return config;
}

void CheckTrain(const TrainConfig& train, KeyErrors& errors, const KeyErrors& read) {
  FieldChecker checker("train", errors, FieldChecker::Part::kAll, read);
  Fields(train, checker);
  const std::int64_t train_length = train.train_length, batch_tokens = train.batch_tokens;
  if (checker.AreRight({"train.train_length", "train.batch_tokens"}) &&
      batch_tokens % train_length != 0) {
    const std::int64_t below = batch_tokens / train_length * train_length;
    const std::string nearest =
        below == 0 ? Str("is ", train_length) : Str("are ", below, " and ", below + train_length);
    errors.Add(
        "train.batch_tokens",
        Invalid(Str("train.batch_tokens: ", batch_tokens, " is not a multiple of train_length ",
                    train_length, "; the nearest ", nearest)),
        {"train.train_length"});
  }
  if (checker.AreRight({"train.optimizer.lr", "train.optimizer.min_lr"})) {
    errors.Add("train.optimizer.min_lr",
               InRange("train.optimizer.min_lr", train.optimizer.min_lr, 0.0, train.optimizer.lr));
  }
  if (checker.AreRight({"train.tokens", "train.schedule.warmup_tokens"})) {
    const std::int64_t warmup_tokens = train.schedule.warmup_tokens;
    if (warmup_tokens > train.tokens) {
      errors.Add("train.schedule.warmup_tokens",
                 Invalid(Str("train.schedule.warmup_tokens: ", warmup_tokens,
                             " is more than all tokens of the training (train.tokens ",
                             train.tokens, "): shorten the warm-up, or train on more tokens")));
    }
  }
  const ValidateConfig& validate = train.validate;
  if ((validate.every == 0) != (validate.tokens == 0)) {
    errors.Add("train.validate",
               Invalid(Str("train.validate: \"every\" is ", validate.every, " and \"tokens\" is ",
                           validate.tokens, "; set both, or neither")),
               {"train.validate.every", "train.validate.tokens"});
  }
  if (train.is_masked() &&
      checker.AreRight({"train.mask.mask_replace_prob", "train.mask.random_replace_prob"})) {
    CheckMask(train.mask, errors);
  }
  if (train.takes_documents() && checker.AreRight({"train.train_length"})) {
    CheckSamples(train, errors);
  }
  if (!train.positions.is_null() && checker.AreRight({"train.train_length"})) {
    CheckPositions(train, errors);
  }
}

Status TrainConfig::Check() const {
  KeyErrors errors;
  CheckTrain(*this, errors);
  return errors.First();
}

void CheckModelAndTrain(const ModelConfig& model, const TrainConfig& train, KeyErrors& errors) {
  if (!train.is_masked() && !model.causal) {
    errors.Add(
        "train.objective",
        Invalid("train.objective: causal_lm needs model.causal: true, since without the causal "
                "mask a token sees the next one, which it is to predict; set it, or use masked_lm"),
        {"model.causal"});
  } else if (train.is_masked() && model.causal) {
    errors.Add("train.objective",
               Invalid("train.objective: masked_lm needs model.causal: false, since a hidden token "
                       "is guessed from both sides; set it, or use causal_lm"),
               {"model.causal"});
  } else if (train.is_masked() && train.mask.token >= model.vocab_size) {
    errors.Add("train.mask.token",
               Invalid(Str("train.mask.token: expected one of the ids 0 to ", model.vocab_size - 1,
                           " of model.vocab_size ", model.vocab_size, ", found ", train.mask.token,
                           "; leave out vocab_size to have a row for it")),
               {"model.vocab_size"});
  }
  CheckValidationLength(model, train, errors);
  if (train.skip_epsilon > 0.0) CheckSkipping(model, errors);
  if (!train.extension.is_null()) {
    if (const auto why = WhyNotTrainedUnder(train.extension, model)) {
      AddErrors("train.extend", {*why}, errors);
    }
  }
  if (train.positions.is_null()) return;
  if (const auto why = WhyNotScheduled(train.positions, model)) {
    AddErrors("train.positions", {*why}, errors);
  }
}

}  // namespace longrun
