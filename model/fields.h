// The settings of a model (config.h), each declared once (setting.h). Only for .cc files.
#pragma once

#include <cstdint>
#include <string_view>

#include "model/architecture/architecture.h"
#include "model/config.h"
#include "model/limits.h"
#include "model/setting.h"

namespace longrun {

// The architecture whose JSON has no keys of the body: its runs are older than these keys, and its
// body is always the same.
inline constexpr std::string_view kBodyless = "gpt2";

void Fields(Of<ModelConfig> auto& model, auto& v) {
  using Type = ParamSpec::Type;
  v(model.architecture,
    {.name = "architecture",
     .choices = ArchitectureNames(),
     .meaning = "family of the model: it decides on norms, MLP, biases and tied embeddings, and on "
                "the names and layout of the weights"},
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
     .meaning = "number of attention heads (default: the size's)"},
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
     .meaning = "number of key and value heads, a divisor of n_head (default: n_head)"},
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
     .meaning = "whether attention and MLP come one after the other or side by side (default: the "
                "architecture's)"},
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

}  // namespace longrun
