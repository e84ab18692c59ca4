// Baichuan-7B (Baichuan Inc. 2023): Llama's body without grouped heads, with queries, keys and
// values in one tensor, W_pack; rotary positions of base 10000. The 13B model has ALiBi, and
// Baichuan 2 has a head of normalised rows, under the same model_type: both have model_max_length,
// and are refused by name.
#include "base/str.h"
#include "model/architecture/config_keys.h"
#include "model/architecture/llama.h"

namespace longrun {
namespace {

constexpr std::string_view kHonoured[] = {
    "hidden_size", "num_hidden_layers", "num_attention_heads",    "intermediate_size",
    "hidden_act",  "rms_norm_eps",      "max_position_embeddings"};

TensorNames Names() {
  TensorNames names = LlamaNames();
  names.qkv = "self_attn.W_pack";
  names.q = names.k = names.v = "";
  return names;
}

Result<NetConfig> Read(const Json& config) {
  if (config.contains("model_max_length")) {
    return Status(Code::kUnimplemented,
                  "config.json: model_max_length is a key of Baichuan-13B and Baichuan 2, whose "
                  "ALiBi and normalised head are not supported; only Baichuan-7B is supported");
  }
  RETURN_IF_ERROR(CheckConfigKeys(config, kHonoured));
  const ConfigReader read(config);
  NetConfig net;
  ModelConfig& model = net.model;
  model.architecture = "baichuan";
  // The default of an absent key is that of the model's configuration_baichuan.py.
  RETURN_IF_ERROR(ReadLlamaShape(
      read, {.vocab_size = 64000, .intermediate_size = 11008, .num_key_value_heads = 0}, model));
  RETURN_IF_ERROR(ReadPadding(read, 0, net));
  RETURN_IF_ERROR(ReadPosition(read, {{"method", "rope"}}, {}, model));
  return net;
}

Json Write(const NetConfig& net) {
  Json json = LlamaJson(net, "BaiChuanForCausalLM");
  for (const char* key : {"num_key_value_heads", "head_dim", "rope_theta"}) json.erase(key);
  return json;
}

}  // namespace

const Architecture& BaichuanArchitecture() {
  static const Architecture architecture = {
      .name = "baichuan",
      .source = "Baichuan Inc. 2023, Baichuan-7B; its modeling_baichuan.py",
      .set_body = &SetLlamaBody,
      .names = Names(),
      .read = &Read,
      .write = &Write,
      .words = LlamaWords(),
  };
  return architecture;
}

}  // namespace longrun
