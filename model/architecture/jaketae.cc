// The block of jaketae/alibi (github.com/jaketae/alibi, alibi/layers.py and attention.py at
// 021acae), causal or not:
//
//   [k, q, v] = ln_attn(x) W                              one product without bias, keys first
//   x = x + concat over heads of softmax(q k^T / sqrt(d_model) + m_h (j - i)) v
//       no output projection
//   x = x + fc2(gelu(fc1(ln_ffn(x))))                     erf GELU, as wide as the model, biases
//
// There is nothing after the last block. The scale and the bias are those of position method alibi,
// variant jaketae, which is the default for a folder that names no method. The published module
// reads and returns vectors; here a token embedding comes before it, which is also the head. Its
// dropout (0.1: after attention and after the MLP) changes nothing in evaluation,
// and training here has none.
#include "base/str.h"
#include "model/architecture/architecture.h"
#include "model/architecture/config_keys.h"
#include "model/position/method.h"

namespace longrun {
namespace {

constexpr std::string_view kBuffers[] = {".attn.m", ".attn.mask"};
constexpr FileWord kWords[] = {{"model.n_layer", "num_layers"},
                               {"model.n_head", "num_heads"},
                               {"model.activation", "activation_function"}};

// ALiBiConfig's fields, and ours. max_len only limits the published mask's buffer.
constexpr std::string_view kHonoured[] = {
    "num_layers", "d_model",          "num_heads",           "max_len",           "dropout",
    "d_ff",       "expansion_factor", "activation_function", "layer_norm_epsilon"};

void SetBody(ModelConfig& model) {
  model.body = {.n_kv_head = model.n_head,
                .head_dim = model.EvenHeadDim(),
                .qkv_bias = false,
                .out_bias = false,
                .out_projection = false,
                .final_norm = false};
  model.d_ff = model.d_model;
  model.activation = MlpActivation::kGelu;
  model.layer_norm_epsilon = 1e-5;
  model.tie_embeddings = true;
}

Result<NetConfig> Read(const Json& config) {
  RETURN_IF_ERROR(CheckConfigKeys(config, kHonoured));
  const ConfigReader read(config);
  NetConfig net;
  ModelConfig& model = net.model;
  model.architecture = "jaketae";
  // The default of an absent key is that of ALiBiConfig, which has no vocabulary.
  if (!read.Has("vocab_size")) {
    return Status(Code::kInvalidArgument,
                  "config.json: vocab_size must be given: the module itself has no vocabulary");
  }
  ASSIGN_OR_RETURN(model.vocab_size, read.Int("vocab_size", 0));
  ASSIGN_OR_RETURN(model.d_model, read.Int("d_model", 256));
  ASSIGN_OR_RETURN(model.n_layer, read.Int("num_layers", 6));
  ASSIGN_OR_RETURN(model.n_head, read.Int("num_heads", 8));
  RETURN_IF_ERROR(model.CheckShape());
  SetBody(model);
  ASSIGN_OR_RETURN(const std::int64_t expansion, read.Int("expansion_factor", 1));
  if (expansion < 1 || expansion > 1024) {
    return Status(Code::kInvalidArgument,
                  Str("config.json: expansion_factor: expected 1 to 1024, found ", expansion));
  }
  ASSIGN_OR_RETURN(model.d_ff, read.Int("d_ff", expansion * model.d_model));
  ASSIGN_OR_RETURN(model.activation,
                   ReadActivation(read, "activation_function", MlpActivation::kGelu));
  RETURN_IF_ERROR(ReadCommon(read, true, model));
  ASSIGN_OR_RETURN(model.layer_norm_epsilon, read.Double("layer_norm_epsilon", 1e-5));
  RETURN_IF_ERROR(ReadPosition(read, {{"method", "alibi"}, {"variant", "jaketae"}}, {}, model));
  return net;
}

Json Write(const NetConfig& net) {
  const ModelConfig& model = net.model;
  Json json = CommonConfigJson(model, "ALiBiTransformer");
  json.update({{"d_model", model.d_model},
               {"num_layers", model.n_layer},
               {"num_heads", model.n_head},
               {"d_ff", model.d_ff},
               {"activation_function", model.activation},
               {"layer_norm_epsilon", model.layer_norm_epsilon},
               {"dropout", 0}});
  return json;
}

}  // namespace

const Architecture& JaketaeArchitecture() {
  static const Architecture architecture = {
      .name = "jaketae",
      .source = "jaketae/alibi, alibi/layers.py",
      .set_body = &SetBody,
      .names = {.embedding = "embedding",
                .final_norm = "",
                .head = "head",
                .layer = "layers.",
                .norm_1 = "attn_norm",
                .norm_2 = "ffn_norm",
                .qkv = "attn.kqv",
                .out = "",
                .up = "ffn.fc1",
                .down = "ffn.fc2",
                .keys_first = true,
                .base_prefix = "",
                .buffers = kBuffers},
      .read = &Read,
      .write = &Write,
      .words = kWords,
  };
  return architecture;
}

}  // namespace longrun
