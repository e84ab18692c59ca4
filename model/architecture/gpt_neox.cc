// GPT-NeoX (Black et al. 2022, arXiv:2204.06745), Pythia: attention and MLP side by side, each
// after its own LayerNorm, x = x + attention(ln_1 x) + mlp(ln_2 x), or one after the other; rotary
// positions on a share of a head's channels; the queries, keys and values of a head are
// together in one tensor.
#include "base/str.h"
#include "model/architecture/architecture.h"
#include "model/architecture/config_keys.h"
#include "model/architecture/rope_keys.h"

namespace longrun {
namespace {

constexpr std::string_view kBuffers[] = {".attention.bias", ".attention.masked_bias",
                                         ".attention.rotary_emb.inv_freq", ".rotary_emb.inv_freq"};
constexpr FileWord kWords[] = {
    {"model.d_model", "hidden_size"},        {"model.n_layer", "num_hidden_layers"},
    {"model.n_head", "num_attention_heads"}, {"model.d_ff", "intermediate_size"},
    {"model.activation", "hidden_act"},      {"model.layer_norm_epsilon", "layer_norm_eps"}};

constexpr std::string_view kHonoured[] = {"hidden_size",
                                          "num_hidden_layers",
                                          "num_attention_heads",
                                          "intermediate_size",
                                          "hidden_act",
                                          "layer_norm_eps",
                                          "use_parallel_residual",
                                          "attention_bias",
                                          "rotary_pct",
                                          "rotary_emb_base",
                                          "rope_theta",
                                          "partial_rotary_factor",
                                          "rope_scaling",
                                          "rope_parameters",
                                          "max_position_embeddings",
                                          "original_max_position_embeddings"};

constexpr RopeSpelling kSpelling = {.base = "rotary_emb_base",
                                    .other_base = "rope_theta",
                                    .partial = "rotary_pct",
                                    .other_partial = "partial_rotary_factor",
                                    .partial_where_absent = 0.25,
                                    .may_be_partial = true};

void SetBody(ModelConfig& model) {
  model.body = {
      .block = BlockKind::kParallel, .n_kv_head = model.n_head, .head_dim = model.EvenHeadDim()};
  model.d_ff = 4 * model.d_model;
  model.activation = MlpActivation::kGelu;
  model.layer_norm_epsilon = 1e-5;
  model.tie_embeddings = false;
}

Result<NetConfig> Read(const Json& config) {
  RETURN_IF_ERROR(CheckConfigKeys(config, kHonoured));
  const ConfigReader read(config);
  NetConfig net;
  ModelConfig& model = net.model;
  model.architecture = "gpt_neox";
  // The default of an absent key is that of transformers' GPTNeoXConfig.
  ASSIGN_OR_RETURN(model.vocab_size, read.Int("vocab_size", 50432));
  ASSIGN_OR_RETURN(model.d_model, read.Int("hidden_size", 6144));
  ASSIGN_OR_RETURN(model.n_layer, read.Int("num_hidden_layers", 44));
  ASSIGN_OR_RETURN(model.n_head, read.Int("num_attention_heads", 64));
  RETURN_IF_ERROR(model.CheckShape());
  SetBody(model);
  ASSIGN_OR_RETURN(model.d_ff, read.Int("intermediate_size", 24576));
  ASSIGN_OR_RETURN(model.activation, ReadActivation(read, "hidden_act", MlpActivation::kGelu));
  ASSIGN_OR_RETURN(model.layer_norm_epsilon, read.Double("layer_norm_eps", 1e-5));
  ASSIGN_OR_RETURN(const bool parallel, read.Bool("use_parallel_residual", true));
  if (!parallel) model.body.block = BlockKind::kSequential;
  ASSIGN_OR_RETURN(model.body.qkv_bias, read.Bool("attention_bias", true));
  model.body.out_bias = model.body.qkv_bias;
  RETURN_IF_ERROR(ReadCommon(read, false, model));
  RETURN_IF_ERROR(ReadRope(read, kSpelling, net));
  return net;
}

Json Write(const NetConfig& net) {
  const ModelConfig& model = net.model;
  Json json = CommonConfigJson(model, "GPTNeoXForCausalLM");
  json.update({{"hidden_size", model.d_model},
               {"num_hidden_layers", model.n_layer},
               {"num_attention_heads", model.n_head},
               {"intermediate_size", model.d_ff},
               {"hidden_act", model.activation},
               {"layer_norm_eps", model.layer_norm_epsilon},
               {"use_parallel_residual", model.body.block == BlockKind::kParallel},
               {"attention_bias", model.body.qkv_bias}});
  WriteRope(net, kSpelling, json);
  return json;
}

}  // namespace

const Architecture& GptNeoxArchitecture() {
  static const Architecture architecture = {
      .name = "gpt_neox",
      .source = "arXiv:2204.06745; transformers, modeling_gpt_neox.py",
      .set_body = &SetBody,
      .freedom = {.attention_bias = true, .parallel = true},
      .names = {.embedding = "gpt_neox.embed_in",
                .final_norm = "gpt_neox.final_layer_norm",
                .head = "embed_out",
                .layer = "gpt_neox.layers.",
                .norm_1 = "input_layernorm",
                .norm_2 = "post_attention_layernorm",
                .qkv = "attention.query_key_value",
                .out = "attention.dense",
                .up = "mlp.dense_h_to_4h",
                .down = "mlp.dense_4h_to_h",
                .heads_first = true,
                .base_prefix = "gpt_neox.",
                .buffers = kBuffers},
      .read = &Read,
      .write = &Write,
      .words = kWords,
  };
  return architecture;
}

}  // namespace longrun
