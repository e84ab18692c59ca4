// Qwen2 and Qwen2.5 (Yang et al. 2024, arXiv:2407.10671): Llama's body with grouped heads and
// biases of queries, keys and values; with use_sliding_window, a sliding window in the layers from
// max_window_layers on, or in those that layer_types names.
#include <algorithm>
#include <string>
#include <vector>

#include "base/str.h"
#include "model/architecture/llama.h"
#include "model/architecture/rope_keys.h"

namespace longrun {
namespace {

void SetBody(ModelConfig& model) {
  SetLlamaBody(model);
  model.body.qkv_bias = true;
}

constexpr const char* kFull = "full_attention";
constexpr const char* kSliding = "sliding_attention";

// Which layers have the window: by layer_types, or else by max_window_layers.
Result<std::vector<bool>> LayersWithWindow(const ConfigReader& read, std::int64_t n_layer) {
  std::vector<bool> windowed;
  if (!read.Has("layer_types")) {
    ASSIGN_OR_RETURN(const std::int64_t first, read.Int("max_window_layers", 28));
    for (std::int64_t l = 0; l < n_layer; ++l) windowed.push_back(l >= first);
    return windowed;
  }
  const Json& types = read["layer_types"];
  const auto known = [](const Json& type) { return type == kFull || type == kSliding; };
  if (!types.is_array() || static_cast<std::int64_t>(types.size()) != n_layer ||
      !std::all_of(types.begin(), types.end(), known)) {
    return Status(Code::kUnimplemented,
                  Str("config.json: layer_types: expected \"", kFull, "\" or \"", kSliding,
                      "\" for each of the ", n_layer, " layers"));
  }
  for (const Json& type : types) windowed.push_back(type == kSliding);
  return windowed;
}

Status ReadWindow(const ConfigReader& read, NetConfig& net) {
  ASSIGN_OR_RETURN(const bool wanted, read.Bool("use_sliding_window", false));
  const bool has_window = wanted && !read.IsNull("sliding_window");
  if (!has_window && !read.Has("layer_types")) return Status();
  ASSIGN_OR_RETURN(const std::vector<bool> windowed, LayersWithWindow(read, net.model.n_layer));
  const bool any = std::find(windowed.begin(), windowed.end(), true) != windowed.end();
  if (any && !has_window) {
    return Status(Code::kInvalidArgument,
                  Str("config.json: layer_types: \"", kSliding,
                      "\" needs use_sliding_window true and a sliding_window"));
  }
  if (!any) return Status();
  ASSIGN_OR_RETURN(net.model.body.window, ReadWindowLength(read, 4096));
  for (std::int64_t l = 0; l < net.model.n_layer; ++l) {
    if (!windowed[static_cast<std::size_t>(l)]) net.full_layers.push_back(l);
  }
  return Status();
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
  RETURN_IF_ERROR(ReadPadding(read, -1, net));
  model.body.qkv_bias = true;
  RETURN_IF_ERROR(ReadWindow(read, net));
  RETURN_IF_ERROR(ReadRope(read, {.length_where_absent = 32768}, net));
  return net;
}

Json Write(const NetConfig& net) {
  Json json = LlamaJson(net, "Qwen2ForCausalLM");
  const BodyConfig& body = net.model.body;
  json["use_sliding_window"] = body.window > 0;
  if (body.window == 0) return json;
  json["sliding_window"] = body.window;
  json["max_window_layers"] = 0;
  if (net.full_layers.empty()) return json;
  std::vector<std::string> types(static_cast<std::size_t>(net.model.n_layer), kSliding);
  for (const std::int64_t l : net.full_layers) types[static_cast<std::size_t>(l)] = kFull;
  json["layer_types"] = types;
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
