// The settings of a recipe (train_config.h), each declared once (setting.h). Only for .cc files.
#pragma once

#include <string>
#include <vector>

#include "model/limits.h"
#include "model/setting.h"
#include "model/train_config.h"

namespace longrun {

void Fields(Of<OptimizerConfig> auto& optimizer, auto& v) {
  v(optimizer.name, {.name = "name", .meaning = "the optimiser"}, {.axis = false});
  v(optimizer.lr, {.name = "lr", .min = 1e-12, .max = 10, .meaning = "largest learning rate"});
  v(optimizer.min_lr,
    {.name = "min_lr",
     .min = 0,
     .max = 10,
     .meaning = "learning rate at the end (default: lr / 10)"},
    {.derived = true});
  v(optimizer.beta1, optimizer.beta2,
    {.name = "betas", .min = 0, .max = 0.9999999, .meaning = "decay rates of the two moments"});
  v(optimizer.eps, {.name = "eps",
                    .min = 1e-30,
                    .max = 1,
                    .meaning = "added to the square root of the second moment"});
  v(optimizer.weight_decay,
    {.name = "weight_decay",
     .min = 0,
     .max = 100,
     .meaning = "weight decay, only of tensors with two or more dimensions"});
  v(optimizer.grad_clip,
    {.name = "grad_clip",
     .min = 0,
     .max = 1e9,
     .meaning = "norm to which larger gradients are clipped; 0: none are clipped"});
}

void Fields(Of<ScheduleConfig> auto& schedule, auto& v) {
  v(schedule.name,
    {.name = "name",
     .meaning =
         "cosine, linear: the learning rate falls from lr to min_lr; constant: it stays at lr"});
  v(schedule.warmup_tokens, {.name = "warmup_tokens",
                             .min = 0,
                             .max = kTokensMax,
                             .meaning = "tokens of the linear warm-up"});
}

void Fields(Of<ValidateConfig> auto& validate, auto& v) {
  v(validate.every, {.name = "every",
                     .min = 0,
                     .max = kTokensMax,
                     .meaning = "tokens to train on between two validations; 0: no validation"});
  v(validate.tokens, {.name = "tokens",
                      .min = 0,
                      .max = kTokensMax,
                      .meaning = "tokens to score in each validation"});
  v(validate.length,
    {.name = "length",
     .min = 0,
     .max = kLengthMax,
     .meaning = "tokens in a window of the validation; 0: train_length"},
    {.in_json = validate.length > 0});
}

void Fields(Of<MaskConfig> auto& mask, auto& v) {
  v(mask.probability, {.name = "probability",
                       .min = 1e-6,
                       .max = 1,
                       .meaning = "probability that a token has to be predicted"});
  v(mask.mask_replace_prob,
    {.name = "mask_replace_prob",
     .min = 0,
     .max = 1,
     .meaning = "probability that a token to predict is replaced by the mask token"});
  v(mask.random_replace_prob, {.name = "random_replace_prob",
                               .min = 0,
                               .max = 1,
                               .meaning = "probability that a token to predict is replaced by a "
                                          "random token instead; the rest stay unchanged"});
  v(mask.token,
    {.name = "token",
     .min = 0,
     .max = kVocabMax - 1,
     .meaning = "id of the mask token (default: the imported model's, else that of the dataset's "
                "tokenizer, else a new id after the dataset's, which adds a row to the embedding)"},
    {.derived = true});
}

void Fields(Of<TrainConfig> auto& train, auto& v) {
  const bool is_masked = train.is_masked();  // before a visitor changes it
  v(train.train_length,
    {.name = "train_length",
     .min = 1,
     .max = kLengthMax,
     .meaning = "tokens in a training sequence (optional with train: none)"},
    {.required = true, .in_matrix = true, .kept = true});
  v(train.tokens,
    {.name = "tokens",
     .min = 1,
     .max = kTokensMax,
     .meaning = "tokens to train on, rounded up to whole steps"},
    {.required = true});
  v(train.batch_tokens,
    {.name = "batch_tokens",
     .min = 1,
     .max = kTokensMax,
     .meaning = "tokens in an optimiser step, a multiple of train_length"},
    {.required = true, .kept = true});
  v(train.precision,
    {.name = "precision",
     .choices = {kTrainedPrecisions.begin(), kTrainedPrecisions.end()},
     .meaning = "bf16: autocast, with fp32 weights"},
    {.kept = true});
  // The error of attention, 2 skip_epsilon max|v|, stays at bf16's rounding or below.
  v(train.skip_epsilon,
    {.name = "skip_epsilon",
     .min = 0,
     .max = 1e-3,
     .meaning = "fraction of a query's attention, below which the oldest keys are skipped together "
                "to save time, as in evaluations (there: 2^-24, which is 5.96e-8); needs a "
                "position method with a one-sided bias, such as alibi or cable; 0: no key is "
                "skipped in training"},
    {.kept = true, .in_json = train.skip_epsilon != 0.0});
  v(train.order,
    {.name = "order",
     .meaning = "order of the data; random: sequences that start anywhere; shuffled, stream: "
                "consecutive slices, in shuffled order or in the order of the dataset; with "
                "samples: documents, documents take the place of sequences and slices"},
    {.kept = true});
  v(train.samples,
    {.name = "samples",
     .meaning = "what a training sequence is; windows: train_length tokens of the joined text; "
                "documents: the beginning of one document, with padding after a shorter one; "
                "documents_with_bos: the same, with a begin-of-text token before each document"},
    {.kept = true, .in_json = train.takes_documents()});
  // If a run's JSON has the objective, it is masked_lm.
  std::vector<std::string> objectives;
  if (is_masked) objectives.emplace_back(EnumName(Objective::kMaskedLm));
  v(train.objective,
    {.name = "objective",
     .choices = objectives,
     .meaning = "what the model learns to predict; causal_lm: the next token; masked_lm: masked "
                "tokens, from both sides (needs model.causal: false)"},
    {.kept = true, .in_json = is_masked});
  v.Group(train.mask,
          {.name = "mask",
           .meaning = "for objective masked_lm: which tokens have to be predicted, and what "
                      "replaces them (BERT's 80/10/10)"},
          {.kept = true, .in_json = is_masked});
  v.Group(train.optimizer, {.name = "optimizer", .meaning = "how the weights are updated"});
  v.Group(train.schedule,
          {.name = "schedule", .meaning = "learning rate over time, after a linear warm-up"});
  v.Group(train.validate, {.name = "validate", .meaning = "a validation curve during training"});
}

}  // namespace longrun
