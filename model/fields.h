// The settings of a model and its training (config.h), each declared once. Each declaration below
// gives the JSON form, its strict reading and its range (config.cc); the key of a sweep file, its
// default, its line in the reference and in the JSON Schema (sweeps/schema.cc); and whether a run
// that starts from an imported model or continues another run must agree in it (sweeps/expand.cc).
// A new setting needs a member of its struct, a declaration here, and the code that uses it:
//
//   v(optimizer.lr, {.name = "lr", .min = 1e-12, .max = 10, .meaning = "largest learning rate"});
//
// A visitor has these functions, where T is std::int64_t, double, bool or std::string, const if the
// visitor only reads; SettingUse is optional:
//
//   v(T& member, const ParamSpec&, const SettingUse&)
//   v(double& first, double& second, const ParamSpec&, const SettingUse&)      a pair of numbers
//   v.Group(Config& member, const ParamSpec&, const SettingUse&)
//       Fields(member) below a name
//
// Only for .cc files; other headers see only the structs. A member's default is the setting's
// default, and its C++ type decides the type of the value (TypeOf), except for an integer that is
// not a count: kInt.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>
#include <vector>

#include "model/architecture/architecture.h"
#include "model/config.h"
#include "model/limits.h"
#include "model/param.h"

namespace longrun {

struct SettingUse {
  // In a sweep file: `required` settings must be given; `derived` ones, if left out, are what the
  // meaning says; all others have the member's default.
  bool required = false;
  bool derived = false;
  bool axis = true;
  bool in_matrix = false;  // its key belongs in spec.matrix
  // A run that continues another must have the same value.
  bool kept = false;
  // Present in the JSON. A setting can be left out there so that it does not change the
  // keys of older runs.
  bool in_json = true;
  bool of_body = false;  // only in the JSON of architectures other than kBodyless
  bool shape = false;    // the body is built from it, so it is read and checked first
  // Its range here applies only to sweep files: config.cc checks the value in its context.
  bool own_check = false;
  // The value that 0 stands for.
  std::function<std::int64_t()> where_zero = {};
  // Further choices that imported models may have, but sweep files may not.
  std::vector<std::string> choices_imported = {};
};

// The architecture without keys of the body: its runs are older than these keys, and its body is
// always the same.
inline constexpr std::string_view kBodyless = "gpt2";

template <typename T>
ParamSpec::Type TypeOf(const ParamSpec& spec) {
  using Value = std::remove_const_t<T>;
  if constexpr (std::same_as<Value, bool>) return ParamSpec::Type::kBool;
  if constexpr (std::same_as<Value, std::string>) return ParamSpec::Type::kChoice;
  if constexpr (std::same_as<Value, double>) return ParamSpec::Type::kNumber;
  if constexpr (std::same_as<Value, std::int64_t>) {
    return spec.type == ParamSpec::Type::kInt ? spec.type : ParamSpec::Type::kCount;
  }
}

// `Config`, or a const one.
template <typename T, typename Config>
concept Of = std::same_as<std::remove_const_t<T>, Config>;

void Fields(Of<ModelConfig> auto& model, auto& v) {
  using Type = ParamSpec::Type;
  v(model.architecture,
    {.name = "architecture",
     .choices = ArchitectureNames(),
     .meaning =
         "body of the decoder: norm, MLP, biases, tied head; names and layout of its weights"},
    {.shape = true, .own_check = true});
  v(model.n_layer,
    {.name = "n_layer",
     .type = Type::kInt,
     .min = 1,
     .max = kLayersMax,
     .meaning = "number of blocks (default: the size's)"},
    {.derived = true, .shape = true});
  v(model.n_head,
    {.name = "n_head",
     .type = Type::kInt,
     .min = 1,
     .max = kHeadsMax,
     .meaning = "attention heads (default: the size's)"},
    {.derived = true, .shape = true});
  v(model.d_model,
    {.name = "d_model",
     .min = 1,
     .max = kWidthMax,
     .meaning = "width of the model (default: the size's)"},
    {.derived = true, .shape = true});
  v(model.d_ff,
    {.name = "d_ff",
     .min = 1,
     .max = 4 * kWidthMax,
     .meaning = "width of the MLP (default: 4 d_model; with Llama's body 8/3 d_model, rounded up "
                "to a multiple of 256)"},
    {.derived = true});
  v(model.body.n_kv_head,
    {.name = "n_kv_head",
     .type = Type::kInt,
     .min = 1,
     .max = kHeadsMax,
     .meaning = "heads of keys and values, a divisor of n_head (default: n_head)"},
    {.derived = true, .of_body = true, .own_check = true, .where_zero = [&model] {
       return model.n_kv_head();
     }});
  v(model.body.head_dim,
    {.name = "head_dim",
     .type = Type::kInt,
     .min = 1,
     .max = kWidthMax,
     .meaning = "width of a head (default: d_model / n_head)"},
    {.derived = true, .of_body = true, .shape = true, .where_zero = [&model] {
       return model.head_dim();
     }});
  v(model.body.block,
    {.name = "block",
     .choices = {"sequential", "parallel", "parallel_shared_norm"},
     .meaning =
         "attention and MLP one after the other or side by side (default: the architecture's)"},
    {.derived = true, .of_body = true, .own_check = true});
  v(model.body.qkv_bias,
    {.name = "qkv_bias",
     .meaning = "biases of queries, keys and values, and of attention's output if the architecture "
                "has one switch for both (default: the architecture's)"},
    {.derived = true, .of_body = true});
  v(model.body.mlp_bias,
    {.name = "mlp_bias", .meaning = "biases of the MLP (default: the architecture's)"},
    {.derived = true, .of_body = true});
  v(model.body.window,
    {.name = "sliding_window",
     .min = 0,
     .max = kLengthMax,
     .meaning = "tokens that each token attends to, including itself; 0: all (default: the "
                "architecture's)"},
    {.derived = true, .of_body = true});
  v(model.vocab_size,
    {.name = "vocab_size",
     .min = 2,
     .max = kVocabMax,
     .meaning = "rows of the embedding (default: the dataset's)"},
    {.derived = true});
  v(model.activation,
    {.name = "activation",
     .choices = {"gelu_new", "gelu", "relu", "silu"},
     .meaning = "activation function of the MLP; gelu_new is the tanh form of gelu (default: the "
                "architecture's)"},
    {.derived = true, .choices_imported = {"tanh", "quick_gelu"}});
  v(model.layer_norm_epsilon,
    {.name = "layer_norm_epsilon",
     .min = 1e-12,
     .max = 1,
     .meaning = "added to the variance in every norm (default: the architecture's)"},
    {.derived = true});
  v(model.tie_embeddings,
    {.name = "tie_embeddings",
     .meaning = "use one matrix for the embedding and the head (default: the architecture's)"},
    {.derived = true});
  v(model.causal, {.name = "causal",
                   .meaning = "true: a token attends to no later token; false: an encoder, trained "
                              "with objective masked_lm"});
  v(model.init_std, {.name = "init_std",
                     .min = 1e-6,
                     .max = 10,
                     .meaning = "standard deviation of the initial weights"});
}

void Fields(Of<OptimizerConfig> auto& optimizer, auto& v) {
  v(optimizer.name, {.name = "name", .choices = {"adamw"}, .meaning = "the optimiser"},
    {.axis = false});
  v(optimizer.lr, {.name = "lr", .min = 1e-12, .max = 10, .meaning = "largest learning rate"});
  v(optimizer.min_lr,
    {.name = "min_lr", .min = 0, .max = 10, .meaning = "last learning rate (default: lr / 10)"},
    {.derived = true});
  v(optimizer.beta1, optimizer.beta2,
    {.name = "betas", .min = 0, .max = 0.9999999, .meaning = "decay rates of the two moments"});
  v(optimizer.eps, {.name = "eps",
                    .min = 1e-30,
                    .max = 1,
                    .meaning = "added to the square root of the second moment"});
  v(optimizer.weight_decay, {.name = "weight_decay",
                             .min = 0,
                             .max = 100,
                             .meaning = "decay of tensors with two or more dimensions"});
  v(optimizer.grad_clip, {.name = "grad_clip",
                          .min = 0,
                          .max = 1e9,
                          .meaning = "largest gradient norm; 0: not clipped"});
}

void Fields(Of<ScheduleConfig> auto& schedule, auto& v) {
  v(schedule.name, {.name = "name",
                    .choices = {"cosine", "constant"},
                    .meaning = "cosine: falls from lr to min_lr; constant: stays at lr"});
  v(schedule.warmup_tokens, {.name = "warmup_tokens",
                             .min = 0,
                             .max = kTokensMax,
                             .meaning = "tokens of the linear warm-up"});
}

void Fields(Of<ValidateConfig> auto& validate, auto& v) {
  v(validate.every, {.name = "every",
                     .min = 0,
                     .max = kTokensMax,
                     .meaning = "tokens trained between two validations; 0: never"});
  v(validate.tokens,
    {.name = "tokens", .min = 0, .max = kTokensMax, .meaning = "tokens scored each time"});
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
     .meaning = "probability that such a token is replaced by the mask token"});
  v(mask.random_replace_prob, {.name = "random_replace_prob",
                               .min = 0,
                               .max = 1,
                               .meaning = "probability that it is replaced by a random token "
                                          "instead; otherwise it stays unchanged"});
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
     .choices = {"fp32", "bf16"},
     .meaning = "bf16: autocast, with fp32 weights"},
    {.kept = true});
  v(train.order,
    {.name = "order",
     .choices = {"random", "shuffled", "stream"},
     .meaning = "order of the data: sequences from random starts, or consecutive slices in "
                "shuffled or in file order"},
    {.kept = true});
  v(train.objective,
    {.name = "objective",
     .choices = {"causal_lm", "masked_lm"},
     .meaning = "what the model learns to predict: the next token, or masked tokens from both "
                "sides (model.causal false)"},
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
