// Llama 1 to 3 (Touvron et al. 2023, arXiv:2302.13971 and 2307.09288; arXiv:2407.21783): RMSNorm
// before attention and MLP, down(silu(gate x) * up x), rotary positions, no biases, untied head;
// several query heads share a key head. The MLP is 8/3 d_model wide,
// rounded up to a multiple of 256.
#include "model/architecture/llama.h"

#include "base/str.h"
#include "model/architecture/config_keys.h"
#include "model/architecture/rope_keys.h"

namespace longrun {
namespace {

constexpr std::string_view kBuffers[] = {".rotary_emb.inv_freq"};
constexpr FileWord kWords[] = {{"model.d_model", "hidden_size"},
                               {"model.n_layer", "num_hidden_layers"},
                               {"model.n_head", "num_attention_heads"},
                               {"model.n_kv_head", "num_key_value_heads"},
                               {"model.d_ff", "intermediate_size"},
                               {"model.activation", "hidden_act"},
                               {"model.layer_norm_epsilon", "rms_norm_eps"}};

constexpr std::int64_t kMultipleOf = 256;

Result<NetConfig> Read(const Json& config) {
  RETURN_IF_ERROR(CheckLlamaKeys(config, {"attention_bias", "mlp_bias"}));
  const ConfigReader read(config);
  NetConfig net;
  ModelConfig& model = net.model;
  model.architecture = "llama";
  // If the file does not say, each of Llama's heads has its own keys.
  RETURN_IF_ERROR(ReadLlamaShape(
      read, {.vocab_size = 32000, .intermediate_size = 11008, .num_key_value_heads = 0}, model));
  ASSIGN_OR_RETURN(model.body.qkv_bias, read.Bool("attention_bias", false));
  model.body.out_bias = model.body.qkv_bias;
  ASSIGN_OR_RETURN(model.body.mlp_bias, read.Bool("mlp_bias", false));
  RETURN_IF_ERROR(ReadPadding(read, -1, net));
  RETURN_IF_ERROR(ReadRope(read, {}, net));
  return net;
}

Json Write(const NetConfig& net) {
  Json json = LlamaJson(net, "LlamaForCausalLM");
  json["attention_bias"] = net.model.body.qkv_bias;
  json["mlp_bias"] = net.model.body.mlp_bias;
  return json;
}

}  // namespace

void SetLlamaBody(ModelConfig& model) {
  model.body = {.norm = NormKind::kRmsNorm,
                .mlp = MlpKind::kGated,
                .n_kv_head = model.n_head,
                .head_dim = model.EvenHeadDim(),
                .qkv_bias = false,
                .out_bias = false,
                .mlp_bias = false};
  model.d_ff = (8 * model.d_model / 3 + kMultipleOf - 1) / kMultipleOf * kMultipleOf;
  model.activation = MlpActivation::kSilu;
  model.layer_norm_epsilon = 1e-6;
  model.tie_embeddings = false;
}

TensorNames LlamaNames() {
  return {.embedding = "model.embed_tokens",
          .final_norm = "model.norm",
          .head = "lm_head",
          .layer = "model.layers.",
          .norm_1 = "input_layernorm",
          .norm_2 = "post_attention_layernorm",
          .qkv = "",
          .q = "self_attn.q_proj",
          .k = "self_attn.k_proj",
          .v = "self_attn.v_proj",
          .out = "self_attn.o_proj",
          .gate = "mlp.gate_proj",
          .up = "mlp.up_proj",
          .down = "mlp.down_proj",
          .base_prefix = "model.",
          .buffers = kBuffers};
}

std::span<const FileWord> LlamaWords() { return kWords; }

Status CheckLlamaKeys(const Json& config, std::initializer_list<std::string_view> more) {
  std::vector<std::string_view> keys = {"hidden_size",
                                        "num_hidden_layers",
                                        "num_attention_heads",
                                        "num_key_value_heads",
                                        "head_dim",
                                        "intermediate_size",
                                        "hidden_act",
                                        "rms_norm_eps",
                                        "rope_theta",
                                        "rope_scaling",
                                        "rope_parameters",
                                        "partial_rotary_factor",
                                        "max_position_embeddings",
                                        "original_max_position_embeddings"};
  keys.insert(keys.end(), more.begin(), more.end());
  return CheckConfigKeys(config, keys);
}

Status ReadLlamaShape(const ConfigReader& read, const LlamaDefaults& absent, ModelConfig& model) {
  ASSIGN_OR_RETURN(model.vocab_size, read.Int("vocab_size", absent.vocab_size));
  ASSIGN_OR_RETURN(model.d_model, read.Int("hidden_size", 4096));
  ASSIGN_OR_RETURN(model.n_layer, read.Int("num_hidden_layers", 32));
  ASSIGN_OR_RETURN(model.n_head, read.Int("num_attention_heads", 32));
  ASSIGN_OR_RETURN(const std::int64_t head_dim, read.Int("head_dim", 0));
  if (read.Has("head_dim") && head_dim < 1) {  // 0 would be d_model / n_head
    return Status(Code::kInvalidArgument,
                  Str("config.json: head_dim: expected at least 1, found ", head_dim));
  }
  model.body.head_dim = head_dim;
  RETURN_IF_ERROR(model.CheckShape());
  SetLlamaBody(model);
  if (read.Has("head_dim")) model.body.head_dim = head_dim;
  // null means that each head has its own keys.
  const std::int64_t n_kv_head =
      read.IsNull("num_key_value_heads") ? 0 : absent.num_key_value_heads;
  ASSIGN_OR_RETURN(model.body.n_kv_head,
                   read.Int("num_key_value_heads", n_kv_head > 0 ? n_kv_head : model.n_head));
  if (model.body.n_kv_head < 1) {  // 0 would be n_head
    return Status(
        Code::kInvalidArgument,
        Str("config.json: num_key_value_heads: expected at least 1, found ", model.body.n_kv_head));
  }
  ASSIGN_OR_RETURN(model.d_ff, read.Int("intermediate_size", absent.intermediate_size));
  ASSIGN_OR_RETURN(model.activation, ReadActivation(read, "hidden_act", MlpActivation::kSilu));
  ASSIGN_OR_RETURN(model.layer_norm_epsilon, read.Double("rms_norm_eps", 1e-6));
  return ReadCommon(read, false, model);
}

Status ReadPadding(const ConfigReader& read, std::int64_t absent, NetConfig& net) {
  if (read.IsNull("pad_token_id") || (!read.Has("pad_token_id") && absent < 0)) return Status();
  ASSIGN_OR_RETURN(std::int64_t id, read.Int("pad_token_id", absent));
  const std::int64_t n_rows = net.model.vocab_size;
  if (id < -n_rows || id >= n_rows) {
    return Status(Code::kInvalidArgument,
                  Str("config.json: pad_token_id: expected null or one of the ", n_rows,
                      " rows of the embedding, found ", id));
  }
  if (id < 0) id += n_rows;  // counted from the end, as torch.nn.Embedding does
  net.padding_id = id;
  return Status();
}

Result<std::int64_t> ReadWindowLength(const ConfigReader& read, std::int64_t absent) {
  ASSIGN_OR_RETURN(const std::int64_t window, read.Int("sliding_window", absent));
  if (window > 0) return window;
  return Status(Code::kInvalidArgument, Str("config.json: sliding_window: expected at least 1, or "
                                            "null for none, found ",
                                            window));
}

Json LlamaJson(const NetConfig& net, std::string_view class_name) {
  const ModelConfig& model = net.model;
  Json json = CommonConfigJson(model, class_name);
  json.update({{"hidden_size", model.d_model},
               {"num_hidden_layers", model.n_layer},
               {"num_attention_heads", model.n_head},
               {"num_key_value_heads", model.n_kv_head()},
               {"head_dim", model.head_dim()},
               {"intermediate_size", model.d_ff},
               {"hidden_act", model.activation},
               {"rms_norm_eps", model.layer_norm_epsilon}});
  json["pad_token_id"] = net.padding_id >= 0 ? Json(net.padding_id) : Json();
  WriteRope(net, {}, json);
  return json;
}

const Architecture& LlamaArchitecture() {
  static const Architecture architecture = {
      .name = "llama",
      .source = "arXiv:2302.13971; transformers, modeling_llama.py",
      .set_body = &SetLlamaBody,
      .freedom = {.n_kv_head = true, .head_dim = true, .attention_bias = true, .mlp_bias = true},
      .names = LlamaNames(),
      .read = &Read,
      .write = &Write,
      .words = LlamaWords(),
  };
  return architecture;
}

}  // namespace longrun
