// GPT-J (Wang, Komatsuzaki 2021, mesh-transformer-jax): attention and MLP side by side after one
// LayerNorm, x = x + attention(ln_1 x) + mlp(ln_1 x); no biases in attention, one in the untied
// head; rotary positions on the first rotary_dim channels of a head,
// with neighbouring channels as pairs.
#include <cmath>

#include "base/str.h"
#include "model/architecture/config_keys.h"
#include "model/architecture/gpt2.h"

namespace longrun {
namespace {

constexpr std::string_view kBuffers[] = {".attn.bias", ".attn.masked_bias",
                                         ".attn.embed_positions"};

constexpr std::string_view kHonoured[] = {"n_positions",
                                          "n_embd",
                                          "n_layer",
                                          "n_head",
                                          "n_inner",
                                          "rotary_dim",
                                          "activation_function",
                                          "layer_norm_epsilon",
                                          "rotary",
                                          "scale_attn_weights"};

void SetBody(ModelConfig& model) {
  model.body = {.block = BlockKind::kParallelSharedNorm,
                .n_kv_head = model.n_head,
                .head_dim = model.EvenHeadDim(),
                .qkv_bias = false,
                .out_bias = false,
                .head_bias = true};
  model.d_ff = 4 * model.d_model;
  model.activation = MlpActivation::kGeluNew;
  model.layer_norm_epsilon = 1e-5;
  model.tie_embeddings = false;
}

// The share of a head's channels for which int(share * head_dim) is rotary_dim.
Result<double> RotaryShare(std::int64_t rotary_dim, std::int64_t head_dim) {
  if (rotary_dim < 2 || rotary_dim > head_dim) {
    return Status(Code::kInvalidArgument, Str("config.json: rotary_dim: expected 2 to the ",
                                              head_dim, " channels of a head, found ", rotary_dim));
  }
  const auto width = static_cast<double>(head_dim);
  double share = static_cast<double>(rotary_dim) / width;
  while (static_cast<std::int64_t>(width * share) < rotary_dim) share = std::nextafter(share, 2.0);
  return share;
}

Result<NetConfig> Read(const Json& config) {
  RETURN_IF_ERROR(CheckConfigKeys(config, kHonoured));
  const ConfigReader read(config);
  // EleutherAI's file has these keys; transformers behaves as if they were true,
  // whatever their value.
  for (const std::string_view key : {"rotary", "scale_attn_weights"}) {
    ASSIGN_OR_RETURN(const bool as_always, read.Bool(key, true));
    if (!as_always) {
      return Status(Code::kUnimplemented, Str("config.json: ", key, ": false is not supported"));
    }
  }
  NetConfig net;
  ModelConfig& model = net.model;
  model.architecture = "gptj";
  // The default of an absent key is that of transformers' GPTJConfig.
  ASSIGN_OR_RETURN(model.vocab_size, read.Int("vocab_size", 50400));
  ASSIGN_OR_RETURN(model.d_model, read.Int("n_embd", 4096));
  ASSIGN_OR_RETURN(model.n_layer, read.Int("n_layer", 28));
  ASSIGN_OR_RETURN(model.n_head, read.Int("n_head", 16));
  RETURN_IF_ERROR(model.CheckShape());
  SetBody(model);
  ASSIGN_OR_RETURN(model.d_ff, read.Int("n_inner", model.d_ff));
  ASSIGN_OR_RETURN(model.activation,
                   ReadActivation(read, "activation_function", MlpActivation::kGeluNew));
  ASSIGN_OR_RETURN(model.layer_norm_epsilon, read.Double("layer_norm_epsilon", 1e-5));
  RETURN_IF_ERROR(ReadCommon(read, false, model));
  if (read.IsNull("rotary_dim")) {
    return Status(
        Code::kUnimplemented,
        "config.json: \"rotary_dim\": null is not supported; give the number of channels that "
        "are rotated in each head");
  }
  ASSIGN_OR_RETURN(const std::int64_t rotary_dim, read.Int("rotary_dim", 64));
  ASSIGN_OR_RETURN(const double share, RotaryShare(rotary_dim, model.head_dim()));
  const Json rope = {{"method", "rope"}, {"layout", "interleaved"}, {"partial", share}};
  RETURN_IF_ERROR(ReadPosition(read, rope, {}, model));
  return net;
}

Json Write(const NetConfig& net) {
  const ModelConfig& model = net.model;
  Json json = Gpt2Json(model, "GPTJForCausalLM");
  // The key only matters for rotary positions, but for every method it must be in a head's range.
  const auto head_dim = static_cast<double>(model.head_dim());
  const double share =
      model.position.method == "rope" ? model.position.params.at("partial").get<double>() : 1.0;
  json["rotary_dim"] = static_cast<std::int64_t>(head_dim * share);
  return json;
}

}  // namespace

const Architecture& GptjArchitecture() {
  static const Architecture architecture = {
      .name = "gptj",
      .source = "Wang, Komatsuzaki 2021; transformers, modeling_gptj.py",
      .set_body = &SetBody,
      .names = {.embedding = "transformer.wte",
                .final_norm = "transformer.ln_f",
                .head = "lm_head",
                .layer = "transformer.h.",
                .norm_1 = "ln_1",
                .norm_2 = "",
                .qkv = "",
                .q = "attn.q_proj",
                .k = "attn.k_proj",
                .v = "attn.v_proj",
                .out = "attn.out_proj",
                .up = "mlp.fc_in",
                .down = "mlp.fc_out",
                .base_prefix = "transformer.",
                .buffers = kBuffers},
      .read = &Read,
      .write = &Write,
      .words = Gpt2Words(),
  };
  return architecture;
}

}  // namespace longrun
