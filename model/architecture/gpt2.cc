// GPT-2 (Radford et al. 2019), as axiomlab/Cable trains it (src/model.py): LayerNorm before
// attention and MLP, tanh-GELU MLP, biases in all products, tied head. The residual projections
// start at init_std / sqrt(2 n_layer).
#include "model/architecture/gpt2.h"

#include "model/architecture/config_keys.h"
#include "model/position/method.h"

namespace longrun {
namespace {

constexpr std::string_view kBuffers[] = {".attn.bias", ".attn.masked_bias"};
constexpr FileWord kWords[] = {{"model.d_model", "n_embd"},
                               {"model.d_ff", "n_inner"},
                               {"model.activation", "activation_function"}};

// transformers' GPT2Config.
constexpr std::int64_t kDefaultVocab = 50257;
constexpr std::int64_t kDefaultPositions = 1024;
constexpr std::int64_t kDefaultWidth = 768;
constexpr std::int64_t kDefaultLayers = 12;
constexpr std::int64_t kDefaultHeads = 12;

constexpr std::string_view kHonoured[] = {"n_positions",
                                          "n_ctx",
                                          "n_embd",
                                          "n_layer",
                                          "n_head",
                                          "n_inner",
                                          "activation_function",
                                          "layer_norm_epsilon",
                                          "scale_attn_weights",
                                          "scale_attn_by_inverse_layer_idx"};

void SetBody(ModelConfig& model) {
  const ModelConfig gpt2;
  model.body = {};
  model.d_ff = 4 * model.d_model;
  model.activation = gpt2.activation;
  model.layer_norm_epsilon = gpt2.layer_norm_epsilon;
  model.tie_embeddings = gpt2.tie_embeddings;
}

Result<NetConfig> Read(const Json& config) {
  RETURN_IF_ERROR(CheckConfigKeys(config, kHonoured));
  const ConfigReader read(config);
  NetConfig net;
  ModelConfig& model = net.model;
  ASSIGN_OR_RETURN(model.vocab_size, read.Int("vocab_size", kDefaultVocab));
  ASSIGN_OR_RETURN(model.d_model, read.Int("n_embd", kDefaultWidth));
  ASSIGN_OR_RETURN(model.n_layer, read.Int("n_layer", kDefaultLayers));
  ASSIGN_OR_RETURN(model.n_head, read.Int("n_head", kDefaultHeads));
  RETURN_IF_ERROR(model.CheckShape());
  ASSIGN_OR_RETURN(model.d_ff, read.Int("n_inner", 4 * model.d_model));
  ASSIGN_OR_RETURN(model.activation,
                   ReadActivation(read, "activation_function", MlpActivation::kGeluNew));
  ASSIGN_OR_RETURN(model.layer_norm_epsilon, read.Double("layer_norm_epsilon", 1e-5));
  ASSIGN_OR_RETURN(net.scale_attn_weights, read.Bool("scale_attn_weights", true));
  ASSIGN_OR_RETURN(net.scale_attn_by_inverse_layer_idx,
                   read.Bool("scale_attn_by_inverse_layer_idx", false));
  RETURN_IF_ERROR(ReadCommon(read, true, model));
  ASSIGN_OR_RETURN(model.position,
                   ResolvePosition(read.Has("position") ? config["position"] : Json("learned")));

  // n_ctx is the older name of n_positions.
  ASSIGN_OR_RETURN(const std::int64_t n_ctx, read.Int("n_ctx", kDefaultPositions));
  ASSIGN_OR_RETURN(const std::int64_t n_positions, read.Int("n_positions", n_ctx));
  ASSIGN_OR_RETURN(const PositionMethod* method, FindPositionMethod(model.position.method));
  if (method->has_position_table) model.n_positions = n_positions;
  return net;
}

Json Write(const NetConfig& net) {
  Json json = Gpt2Json(net.model, "GPT2LMHeadModel");
  json["scale_attn_weights"] = net.scale_attn_weights;
  json["scale_attn_by_inverse_layer_idx"] = net.scale_attn_by_inverse_layer_idx;
  return json;
}

}  // namespace

std::span<const FileWord> Gpt2Words() { return kWords; }

Json Gpt2Json(const ModelConfig& model, std::string_view class_name) {
  Json json = CommonConfigJson(model, class_name);
  json.update({{"n_embd", model.d_model},
               {"n_layer", model.n_layer},
               {"n_head", model.n_head},
               {"n_inner", model.d_ff},
               {"activation_function", model.activation},
               {"layer_norm_epsilon", model.layer_norm_epsilon},
               {"embd_pdrop", 0},
               {"attn_pdrop", 0},
               {"resid_pdrop", 0}});
  return json;
}

const Architecture& Gpt2Architecture() {
  static const Architecture architecture = {
      .name = "gpt2",
      .source = "Radford et al. 2019; transformers, modeling_gpt2.py",
      .set_body = &SetBody,
      .scaled_residual_init = true,
      .names = {.embedding = "transformer.wte",
                .final_norm = "transformer.ln_f",
                .head = "lm_head",
                .layer = "transformer.h.",
                .norm_1 = "ln_1",
                .norm_2 = "ln_2",
                .qkv = "attn.c_attn",
                .out = "attn.c_proj",
                .up = "mlp.c_fc",
                .down = "mlp.c_proj",
                .inputs_first = true,
                .base_prefix = "transformer.",
                .buffers = kBuffers},
      .read = &Read,
      .write = &Write,
      .words = Gpt2Words(),
  };
  return architecture;
}

}  // namespace longrun
