// Qwen2 and Qwen2.5 (Yang et al. 2024, arXiv:2407.10671): Llama's body with grouped heads and biases of
// queries, keys and values; a sliding window where use_sliding_window says so.
#include "base/str.h"
#include "model/architecture/llama.h"
#include "model/architecture/rope_keys.h"

namespace longrun {
namespace {

void SetBody(ModelConfig& model) {
  SetLlamaBody(model);
  model.body.qkv_bias = true;
}

// layer_types, where newer versions of transformers list each layer's kind: all must be of one.
Status CheckLayerTypes(const ConfigReader& read, const ModelConfig& model) {
  if (!read.Has("layer_types")) return Status();
  const char* const expected = model.body.window > 0 ? "sliding_attention" : "full_attention";
  const Json& types = read["layer_types"];
  if (types.is_array() && static_cast<std::int64_t>(types.size()) == model.n_layer) {
    bool all = true;
    for (const Json& type : types) all = all && type == expected;
    if (all) return Status();
  }
  return Status(
      Code::kUnimplemented,
      Str("config.json: layer_types: expected \"", expected, "\" for each of the ", model.n_layer,
          " layers, as use_sliding_window says; layers of several kinds "
          "are not built"));
}

// 0: none. transformers 4.46 windows every layer, later versions those from max_window_layers on.
Result<std::int64_t> ReadWindow(const ConfigReader& read) {
  ASSIGN_OR_RETURN(const bool wanted, read.Bool("use_sliding_window", false));
  if (!wanted || read.IsNull("sliding_window")) return 0;
  ASSIGN_OR_RETURN(const std::int64_t first, read.Int("max_window_layers", 28));
  if (first != 0) {
    return Status(
        Code::kUnimplemented,
        Str("config.json: max_window_layers: expected 0 with use_sliding_window, found ", first,
            "; versions of transformers differ in which layers have the window "
            "then"));
  }
  return read.Int("sliding_window", 4096);
}

Result<NetConfig> Read(const Json& config) {
  RETURN_IF_ERROR(CheckLlamaKeys(
      config, {"use_sliding_window", "sliding_window", "max_window_layers", "layer_types"}));
  const ConfigReader read(config);
  NetConfig net;
  ModelConfig& model = net.model;
  model.architecture = "qwen2";
  RETURN_IF_ERROR(ReadLlamaShape(
      read, {.vocab_size = 151936, .intermediate_size = 22016, .num_key_value_heads = 32}, model));
  model.body.qkv_bias = true;
  ASSIGN_OR_RETURN(model.body.window, ReadWindow(read));
  RETURN_IF_ERROR(CheckLayerTypes(read, model));
  RETURN_IF_ERROR(ReadRope(read, {.length_where_absent = 32768}, net));
  return net;
}

Json Write(const NetConfig& net) {
  Json json = LlamaJson(net, "Qwen2ForCausalLM");
  const std::int64_t window = net.model.body.window;
  json["use_sliding_window"] = window > 0;
  if (window > 0) {
    json["sliding_window"] = window;
    json["max_window_layers"] = 0;
  }
  return json;
}

}  // namespace

const Architecture& Qwen2Architecture() {
  static const Architecture architecture = {
      .name = "qwen2",
      .source = "arXiv:2407.10671; transformers, modeling_qwen2.py",
      .set_body = &SetBody,
      .freedom = {.n_kv_head = true, .head_dim = true, .window = true},
      .names = LlamaNames(),
      .read = &Read,
      .write = &Write,
      .words = LlamaWords(),
  };
  return architecture;
}

}  // namespace longrun
