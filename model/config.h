// A model, with every default written in. Torch-free, so that the coordinator, the client and the
// trainer read the same structs.
//
// The JSON form is a part of the canonical run (sweeps/run.h), so the names must not change.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/enum_names.h"
#include "base/json.h"
#include "base/status.h"
#include "model/position/config.h"

namespace longrun {

enum class NormKind {
  kLayerNorm,
  kRmsNorm,  // x / sqrt(mean(x^2) + epsilon) * weight
};
template <>
struct EnumNames<NormKind> {
  static constexpr std::array<std::string_view, 2> kNames = {"layer_norm", "rms_norm"};
};

enum class MlpKind {
  kPlain,  // down(act(up x))
  kGated,  // down(act(gate x) * up x)
};
template <>
struct EnumNames<MlpKind> {
  static constexpr std::array<std::string_view, 2> kNames = {"plain", "gated"};
};

enum class BlockKind {
  kSequential,          // x += attention(norm_1 x), then x += mlp(norm_2 x)
  kParallel,            // x += attention(norm_1 x) + mlp(norm_2 x)
  kParallelSharedNorm,  // x += attention(norm_1 x) + mlp(norm_1 x)
};
template <>
struct EnumNames<BlockKind> {
  static constexpr std::array<std::string_view, 3> kNames = {"sequential", "parallel",
                                                             "parallel_shared_norm"};
};

// The activation function of the MLP, by Hugging Face's names.
enum class MlpActivation {
  kGeluNew,  // the tanh form
  kGelu,     // by the error function
  kRelu,
  kSilu,
  kTanh,
  kQuickGelu,  // x sigma(1.702 x)
};
template <>
struct EnumNames<MlpActivation> {
  static constexpr std::array<std::string_view, 6> kNames = {"gelu_new", "gelu", "relu",
                                                             "silu",     "tanh", "quick_gelu"};
};

// The properties that distinguish decoder bodies; the defaults are GPT-2's. Norms come before
// attention and MLP.
struct BodyConfig {
  NormKind norm = NormKind::kLayerNorm;
  MlpKind mlp = MlpKind::kPlain;
  BlockKind block = BlockKind::kSequential;
  std::int64_t n_kv_head = 0;  // heads of keys and values, a divisor of n_head; 0: n_head
  std::int64_t head_dim = 0;   // 0: d_model / n_head
  bool qkv_bias = true;
  bool out_bias = true;  // of attention's output projection
  bool mlp_bias = true;
  bool head_bias = false;
  bool out_projection = true;  // of the heads' outputs; without it they are added unchanged
  bool final_norm = true;
  std::int64_t window = 0;  // query i sees key j where 0 <= i - j < window; 0: all keys up to i
};

struct AttentionShape;

// "model": a decoder, or without the causal mask an encoder; no dropout. Its body is the
// architecture's (model/architecture/).
struct ModelConfig {
  std::string architecture = "gpt2";
  std::int64_t n_layer = 0;
  std::int64_t n_head = 0;
  std::int64_t d_model = 0;
  std::int64_t d_ff = 0;        // 4 * d_model
  std::int64_t vocab_size = 0;  // rows of the embedding (padded)
  MlpActivation activation = MlpActivation::kGeluNew;
  double layer_norm_epsilon = 1e-5;
  bool tie_embeddings = true;
  bool causal = true;
  double init_std = 0.02;        // residual output projections: * (2 n_layer)^-0.5
  std::int64_t n_positions = 0;  // rows of a learned position table; 0: the method has none
  PositionConfig position = {};
  BodyConfig body = {};

  std::int64_t head_dim() const { return body.head_dim > 0 ? body.head_dim : d_model / n_head; }
  std::int64_t n_kv_head() const { return body.n_kv_head > 0 ? body.n_kv_head : n_head; }
  // d_model / n_head if it is an integer, else 0, which Check() refuses.
  std::int64_t EvenHeadDim() const;
  AttentionShape attention_shape() const;  // only after CheckShape() passed
  // Leaves out "position" and "n_positions". The keys of the body are present for all architectures
  // except gpt2, whose body is always the same.
  Json ToJson() const;
  // The inverse: requires every key and allows no other. Checks only types; n_positions stays 0,
  // and the caller sets it (to train_length, for a method with a position table) before Check().
  static Result<ModelConfig> FromJson(const Json& model, const Json& position);
  // The named sizes: micro, tiny, small, medium, large. The caller must set vocab_size (which
  // depends on the tokenizer) and the position method: they are 0 and empty.
  static Result<ModelConfig> Preset(std::string_view size);
  static std::vector<std::string> PresetNames();
  // Sets the body, d_ff, activation, layer_norm_epsilon and tie_embeddings to those of
  // `architecture`; n_head and d_model must be set. kInvalidArgument for an unknown name.
  Status SetArchitecture(const std::string& name);
  // Sets the biases of queries, keys and values, and also that of the output if the architecture
  // has one switch for both.
  void SetAttentionBias(bool qkv_bias);
  // Checks ranges and relations (d_model divisible by n_head, what the architecture's body may be,
  // the position method's own demands).
  Status Check() const;
  Status CheckShape() const;            // only n_layer, n_head, d_model and head_dim
  std::int64_t ParameterCount() const;  // tied head counted once; needs a checked config
};

}  // namespace longrun
