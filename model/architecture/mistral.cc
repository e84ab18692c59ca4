// Mistral 7B (Jiang et al. 2023, arXiv:2310.06825): Llama's body, grouped heads, and a sliding
// window: query i sees key j where 0 <= i - j < sliding_window.
#include "model/architecture/llama.h"
#include "model/architecture/rope_keys.h"

namespace longrun {
namespace {

constexpr std::int64_t kDefaultWindow = 4096;

void SetBody(ModelConfig& model) {
  SetLlamaBody(model);
  model.body.window = kDefaultWindow;
}

Result<NetConfig> Read(const Json& config) {
  RETURN_IF_ERROR(CheckLlamaKeys(config, {"sliding_window"}));
  const ConfigReader read(config);
  NetConfig net;
  net.model.architecture = "mistral";
  RETURN_IF_ERROR(ReadLlamaShape(
      read, {.vocab_size = 32000, .intermediate_size = 14336, .num_key_value_heads = 8},
      net.model));
  RETURN_IF_ERROR(ReadPadding(read, -1, net));
  // null means that there is no window.
  if (!read.IsNull("sliding_window")) {
    ASSIGN_OR_RETURN(net.model.body.window, ReadWindowLength(read, kDefaultWindow));
  }
  RETURN_IF_ERROR(ReadRope(read, {.length_where_absent = 131072}, net));
  return net;
}

Json Write(const NetConfig& net) {
  Json json = LlamaJson(net, "MistralForCausalLM");
  const std::int64_t window = net.model.body.window;
  json["sliding_window"] = window > 0 ? Json(window) : Json();
  return json;
}

}  // namespace

const Architecture& MistralArchitecture() {
  static const Architecture architecture = {
      .name = "mistral",
      .source = "arXiv:2310.06825; transformers, modeling_mistral.py",
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
