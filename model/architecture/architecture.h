// An architecture: a decoder body as Hugging Face's transformers knows it. One file and one line of
// registry.cc each.
//
// A body is data (ModelConfig::body): which norm, which MLP, which block, which biases, how many key
// heads. An architecture says what its body is, which parts of it may differ, how config.json spells
// them, and under which names and layouts model.safetensors holds the tensors. What carries a body
// out is in model/net/transformer.cc, and knows no architecture. Torch-free.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "model/config.h"

namespace longrun {

// What a model folder says: our model, GPT-2's own switches of the score's scale, which layers lack the
// body's window, what is padding, and how a rotary model reads texts beyond its length.
struct NetConfig {
  ModelConfig model;
  bool scale_attn_weights = true;                // false: the scale is 1
  bool scale_attn_by_inverse_layer_idx = false;  // true: / (layer + 1)
  std::vector<std::int64_t> full_layers = {};    // of a model with a window; ascending
  std::int64_t padding_id = -1;  // a row of the embedding without a gradient; -1: none
  Json extension = {};           // null, or complete (model/extension/)
};

// Where a body's tensors are: each name is followed by ".weight" and, where there is one, ".bias";
// those of layer l stand behind `layer` "l.".
struct TensorNames {
  std::string_view embedding, final_norm, head;  // final_norm is empty where there is none
  std::string_view layer;
  std::string_view norm_1, norm_2;  // norm_2 is empty where the block shares norm_1
  // One tensor for queries, keys and values, or q, k, v apart; the other names are empty.
  std::string_view qkv, q = {}, k = {}, v = {};
  std::string_view out;        // empty where there is no output projection
  std::string_view gate = {};  // of a gated MLP
  std::string_view up, down;
  // The outputs of a fused qkv lie as (3, H, D), or as (H, 3, D).
  bool heads_first = false;
  // A fused qkv holds keys, queries, values in this order.
  bool keys_first = false;
  // Weights of products are (inputs, outputs), as GPT-2's Conv1D, or (outputs, inputs).
  bool inputs_first = false;
  // A model saved without its head lacks this prefix.
  std::string_view base_prefix;
  // Ends of the names of buffers that some versions save: masks and tables.
  std::span<const std::string_view> buffers = {};
};

// Which parts of a body may differ from the architecture's own.
struct BodyFreedom {
  bool n_kv_head = false;
  bool head_dim = false;
  bool attention_bias = false;  // qkv_bias and out_bias together
  bool mlp_bias = false;
  bool window = false;
  bool parallel = false;  // block may be sequential, too
};

// One of our words for a model, "model.d_ff", and the file's, "n_inner".
struct FileWord {
  std::string_view ours, theirs;
};

struct Architecture {
  std::string_view name;  // config.json's model_type
  std::string_view source;
  // The body and what else is the architecture's own (d_ff, activation, layer_norm_epsilon,
  // tie_embeddings), for a model whose n_head and d_model are set.
  void (*set_body)(ModelConfig& model);
  BodyFreedom freedom = {};
  // Weights that end a residual branch start at init_std / sqrt(2 n_layer).
  bool scaled_residual_init = false;
  TensorNames names;
  // config.json, both ways; what is read is not checked yet (ModelConfig::Check).
  Result<NetConfig> (*read)(const Json& config);
  Json (*write)(const NetConfig& net);
  // For messages, in the order in which they are replaced.
  std::span<const FileWord> words = {};
};

// All, in listing order.
std::span<const Architecture* const> Architectures();
std::vector<std::string> ArchitectureNames();
// kInvalidArgument with the nearest name and the list.
Result<const Architecture*> FindArchitecture(std::string_view name);

}  // namespace longrun
