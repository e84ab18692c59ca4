// A position method: how order enters the model. One file and one line of registry.cc each.
//
// A method is torch-free and symbolic: it says which attention terms it contributes (TermSpec) and
// declares what it learns. kernels/reference computes the terms in double, model/net as tensors
// with gradients. Notation:
//
//   s[i][j] = scale * <rotate(q_i), rotate(k_j)> + bias[i][j],  -inf where not visible
//
// B batch, T positions, H heads, d head_dim, C d_model; i query, j key, both from 0.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "model/param.h"
#include "model/position/config.h"

namespace longrun {

// The attention for which a method makes terms.
struct AttentionShape {
  std::int64_t n_head = 0;
  std::int64_t head_dim = 0;
  std::int64_t d_model = 0;
  bool causal = true;
  // The number of key heads, and of value heads: a divisor of n_head; 0: n_head. Query head h reads
  // key head and value head h / (n_head / n_kv_head).
  std::int64_t n_kv_head = 0;
  // Query i sees key j where 0 <= i - j < window; 0: all keys up to i. Causal attention only.
  std::int64_t window = 0;
};

// ---- terms -------------------------------------------------------------------------------------

// bias[i][j] = slope[h] * j, or with `two_sided` -slope[h] * |i - j|.
// If causal and one-sided, slope * (j - i) differs from this only by a constant per row
// (row-shift lemma).
struct KeyBiasSlope {
  std::vector<double> slope;  // H
  bool two_sided = false;
};

// A learned bias per key, computed from the layer's input x (after its LayerNorm):
//   h = x W^T + beta (W: H x C, beta: H),  g = gate(h),  b_t = sum over u <= t of g_u
//   bias[i][j] = b_i - b_j, or with `two_sided` -|b_i - b_j|
struct KeyBiasGate {
  enum class Gate {
    kSoftplusNegative,  // g = -softplus(h)
    kLogSigmoid,        // g = log sigmoid(h) = -softplus(-h)
  };
  Gate gate = Gate::kSoftplusNegative;
  std::string weight;  // names among TermSpec::learned
  std::string bias;
  bool two_sided = false;
};

// Rotates q and k by position: the pair of channels c by the angle p * frequency[c].
struct Rotation {
  enum class Layout {
    kHalf,         // pair (c, c + r/2)
    kInterleaved,  // pair (2c, 2c + 1)
  };
  std::vector<double> frequency = {};  // r/2; channels from r on are unchanged
  Layout layout = Layout::kHalf;
  // r/2, or empty: q is also multiplied by exp(growth[c] * p) and k divided by it, so that their
  // product has the factor exp(growth[c] * (i - j)). This p is counted from the middle of the text
  // that is read, which keeps the largest factor small.
  std::vector<double> growth = {};
};

// A function of the distance that a GPU can compute, with two learned tensors p and a (H), or a
// learned table (rows, H).
struct DistanceForm {
  enum class Kind {
    kTable,  // f_h(d) = table[row(d)][h]
    kLog,    // f_h(d) = -p_h ln(1 + a_h |d|)
    kPower,  // f_h(d) = -a_h |d|^p_h, 0 for d = 0
  };
  Kind kind = Kind::kTable;
  std::function<std::int64_t(std::int64_t distance)> row = {};  // only for kTable
};

// bias[i][j] = f_h(i - j), learned or not. The method computes f and its gradient itself, in
// double. This is cheap compared with the scores, since f is needed once per distance, and keeps
// the whole formula in the method's own file.
struct DistanceBias {
  using Tensors = std::vector<std::span<const double>>;
  using Gradients = std::vector<std::span<double>>;
  std::vector<std::string> learned = {};  // names among TermSpec::learned, in the order of Tensors
  // bias[h * n + k] = f_h(begin + k), k = 0 .. n - 1, n = bias.size() / H.
  std::function<void(const Tensors& learned, std::int64_t begin, std::span<double> bias)> forward;
  // Adds dL/dlearned, given dL/dbias. Empty when nothing is learned.
  std::function<void(const Tensors& learned, std::int64_t begin, std::span<const double> d_bias,
                     const Gradients& d_learned)>
      backward = {};
  // The same function, of the tensors that `learned` names, in a form that a GPU can compute.
  // Without one, the host computes f for a GPU, too, and must wait for the GPU in each step.
  std::optional<DistanceForm> form = {};
};

// A small network of the distance, normalised by the query's position:
//   u[i][j]    = ln(|c (i - j)| + 1) / (ln(|c max(i, |lambda length|)| + 1) + 1e-6)
//   bias[i][j] = W2 relu(W1 u + b1) + b2,   W1 (width, 1), b1 (width), W2 (H, width), b2 (H)
struct DistanceNetwork {
  std::string w1, b1, w2, b2, c, lambda;  // names among TermSpec::learned; c and lambda: (1)
  double length = 0.0;
};

// Positions that count by content. With a[i][j] the score before this bias:
//   g[i][j] = sigmoid(a[i][j]), 0 where not visible;   p[i][j] = min(P - 1, sum over
//                                                      j <= t <= i of g[i][t])
//   bias[i][j] = (p - floor p) <q_i, e[ceil p]> + (1 - (p - floor p)) <q_i, e[floor p]>
// The products with e are not scaled. Only for causal attention.
struct ContentPosition {
  std::string table;  // name among TermSpec::learned: e, (d, P)
};

// Added to the token embedding before the first layer: x_0[t] = multiplier * token[t] + E[t].
struct InputAdd {
  double multiplier = 1.0;
  // The closed form: writes E[t] (C = row.size() values) for position t >= 0;
  // null for a learned table.
  void (*fill)(std::int64_t t, std::span<double> row) = nullptr;
  std::string learned_table = {};  // "wpe": rows n_positions; then `fill` is null
  enum class Beyond { kRefuse, kClamp, kWrap } beyond = Beyond::kRefuse;  // past the table's end
};

// U(low, high) if high > low; else N(mean, std^2), or the mean itself if std is 0.
struct InitialValues {
  double mean = 0.0;
  double std = 0.0;
  double low = 0.0, high = 0.0;
};

// A tensor that a method learns. model/net creates it as
// transformer.h.{layer}.attn.position.{name}, or as transformer.position.{name} if the layers share
// it (learned tables: transformer.wpe.weight).
struct LearnedTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  InitialValues init = {};
  // Clamped to [min, max] before every forward pass; absent: not clamped.
  std::optional<double> min = {}, max = {};
};

struct TermSpec {
  double scale = 0.0;  // of <q, k>
  std::optional<KeyBiasSlope> key_bias_slope = {};
  std::optional<KeyBiasGate> key_bias_gate = {};
  std::optional<DistanceBias> distance_bias = {};
  std::optional<DistanceNetwork> distance_network = {};
  std::optional<ContentPosition> content_position = {};
  std::optional<Rotation> rotation = {};
  std::optional<InputAdd> input_add = {};
  std::vector<LearnedTensor> learned = {};
  bool share_layers = false;  // one set of `learned` for all layers
  // The largest number of tokens in a sequence; absent: any.
  std::optional<std::int64_t> length_max = {};
};

// ---- a method ----------------------------------------------------------------------------------

using PositionParam = ParamSpec;

struct PositionMethod {
  std::string_view name;
  std::string_view source;  // paper and section
  std::string_view beyond;  // what happens past the train length
  std::vector<PositionParam> params = {};
  // For parameters that `given` does not name, writes the defaults that depend on another parameter
  // into `params` (complete and checked). Usually null.
  void (*refine_defaults)(const Json& given, Json& params) = nullptr;
  // Makes terms from complete and checked params. An error names the parameter ("method" for the
  // method itself) that does not fit the shape: odd rotary dims, a causal-only
  // variant without a mask.
  ParamResult<TermSpec> (*terms)(const Json& params, const AttentionShape& shape);
  bool has_position_table = false;  // learned: needs ModelConfig::n_positions
};

// All methods, in listing order.
std::span<const PositionMethod* const> PositionMethods();
// kNotFound with the nearest name and the list.
Result<const PositionMethod*> FindPositionMethod(std::string_view name);
std::vector<std::string> PositionMethodNames();

// Whether {"method": .., its parameters} has an experimental value (ParamSpec). False if `position`
// is not such a map.
bool IsExperimental(const Json& position);

// For a method that is not defined for keys after the query: returns an error if the model has no
// causal mask.
std::optional<ParamError> NeedsCausal(std::string_view method, const AttentionShape& shape);

// The errors of "cable" or {"method": "cable", "variant": "scaled"}, by key ("method" or a
// parameter's name): an unknown method or parameter, a wrong type or range.
std::vector<ParamError> PositionErrors(const Json& given);

// The method with its defaults written in, or its errors as "position.KEY: message".
Result<PositionConfig> ResolvePosition(const Json& given);

}  // namespace longrun
