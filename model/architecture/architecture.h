// An architecture: a decoder body as Hugging Face's transformers knows it. One file and one line of
// registry.cc each.
//
// A body is data (ModelConfig::body): which norm, which MLP, which block, which biases, how many
// key heads. An architecture says what its body is, which parts of it may differ, how config.json
// spells them, and under which names and layouts model.safetensors holds the tensors.
// model/net/transformer.cc computes a body and knows no architecture. Torch-free.
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

// The contents of a model folder: our model, GPT-2's own switches for the scale of scores, the
// layers without the body's window, the padding token, and how a rotary model reads texts
// beyond its length.
struct NetConfig {
  ModelConfig model;
  bool scale_attn_weights = true;                // false: the scale is 1
  bool scale_attn_by_inverse_layer_idx = false;  // true: / (layer + 1)
  std::vector<std::int64_t> full_layers = {};    // layers without the model's window; ascending
  std::int64_t padding_id = -1;  // a row of the embedding without a gradient; -1: none
  Json extension = {};           // null, or complete (model/extension/)
};

// The names of a body's tensors: each is followed by ".weight" and, if there is one, ".bias". The
// names of layer l have the prefix `layer` "l.".
struct TensorNames {
  std::string_view embedding, final_norm, head;  // final_norm is empty if there is none
  std::string_view layer;
  std::string_view norm_1, norm_2;  // norm_2 is empty if the block shares norm_1
  // Either one tensor for queries, keys and values, or q, k and v; the other names are empty.
  std::string_view qkv, q = {}, k = {}, v = {};
  std::string_view out;        // empty without an output projection
  std::string_view gate = {};  // of a gated MLP
  std::string_view up, down;
  // The outputs of a fused qkv have the layout (H, 3, D) instead of (3, H, D).
  bool heads_first = false;
  // A fused qkv holds keys, queries and values in this order.
  bool keys_first = false;
  // Weights of products are (inputs, outputs), like GPT-2's Conv1D, instead of (outputs, inputs).
  bool inputs_first = false;
  // The prefix of all names but the head's; a model that was saved without its head lacks it.
  std::string_view base_prefix;
  // Suffixes of buffers that some versions save: masks and tables.
  std::span<const std::string_view> buffers = {};
};

// Which parts of a body may differ from the architecture's own.
struct BodyFreedom {
  bool n_kv_head = false;
  bool head_dim = false;
  bool attention_bias = false;  // qkv_bias and out_bias together
  bool mlp_bias = false;
  bool window = false;
  bool parallel = false;  // block may also be sequential
};

// Our name for a setting, "model.d_ff", and the file's name for it, "n_inner".
struct FileWord {
  std::string_view ours, theirs;
};

struct Architecture {
  std::string_view name;  // config.json's model_type
  std::string_view source;
  // Sets the body and the architecture's other defaults (d_ff, activation, layer_norm_epsilon,
  // tie_embeddings) of a model whose n_head and d_model are set.
  void (*set_body)(ModelConfig& model);
  BodyFreedom freedom = {};
  // Whether the last weights of a residual branch are initialised with init_std / sqrt(2 n_layer).
  bool scaled_residual_init = false;
  TensorNames names;
  // Reads and writes config.json. The result of reading is not checked yet (ModelConfig::Check).
  Result<NetConfig> (*read)(const Json& config);
  Json (*write)(const NetConfig& net);
  // Names to translate in messages, in the order in which they are replaced.
  std::span<const FileWord> words = {};
};

// All architectures, in listing order.
std::span<const Architecture* const> Architectures();
std::vector<std::string> ArchitectureNames();
// kInvalidArgument with the nearest name and the list.
Result<const Architecture*> FindArchitecture(std::string_view name);

}  // namespace longrun
