#include "model/net/attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/flip.h>
#include <ATen/ops/isneginf.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/str.h"
#include "model/attention_path.h"
#include "model/net/kernel_attention.h"
#include "model/net/position_bias.h"
#include "model/net/row_operators.h"

namespace longrun {
namespace {

constexpr std::int64_t kBlockQueries = 128;
// Without gradients, only one block's scores are alive, so long contexts take smaller blocks. It
// depends only on shapes, so that a shape has one result.
constexpr std::int64_t kBlockScoresMax = std::int64_t{1} << 25;
constexpr std::int64_t kBlockQueriesMin = 16;
// Signs of a rotation's growth: keys lose what queries gain.
constexpr double kOfQueries = 1.0, kOfKeys = -1.0;

std::int64_t BlockQueries(std::int64_t n_rows, std::int64_t n_positions) {
  if (at::GradMode::is_enabled()) return kBlockQueries;
  const std::int64_t fits = kBlockScoresMax / std::max<std::int64_t>(1, n_rows * n_positions);
  std::int64_t block = kBlockQueries;
  while (block > kBlockQueriesMin && block > fits) block /= 2;
  return block;
}

// A part along a dimension; returns the tensor itself for the whole,
// which saves a copy in the backward pass.
at::Tensor Part(const at::Tensor& x, std::int64_t dim, std::int64_t begin, std::int64_t n) {
  return n == x.size(dim) ? x : x.narrow(dim, begin, n);
}

// <q_i, k_j> of each query head with the key head that it reads: the query heads of a group are
// rows of one product, so that keys are never copied.
at::Tensor Scores(const at::Tensor& q_BHQD, const at::Tensor& k_BGKD) {
  const at::Tensor k_BGDK = k_BGKD.transpose(2, 3);
  const std::int64_t h = q_BHQD.size(1), g = k_BGKD.size(1), n_query = q_BHQD.size(2);
  if (h == g) return at::matmul(q_BHQD, k_BGDK);
  const at::Tensor q_BGRD = q_BHQD.reshape({-1, g, h / g * n_query, q_BHQD.size(3)});
  return at::matmul(q_BGRD, k_BGDK).view({-1, h, n_query, k_BGKD.size(2)});
}

// sum over j of p_ij v_j, grouped as in Scores.
at::Tensor Mix(const at::Tensor& p_BHQK, const at::Tensor& v_BGKD) {
  const std::int64_t h = p_BHQK.size(1), g = v_BGKD.size(1), n_query = p_BHQK.size(2);
  if (h == g) return at::matmul(p_BHQK, v_BGKD);
  const at::Tensor p_BGRK = p_BHQK.view({-1, g, h / g * n_query, p_BHQK.size(3)});
  return at::matmul(p_BGRK, v_BGKD).view({-1, h, n_query, v_BGKD.size(3)});
}

at::Tensor TorchAttention(const Attention::Call& call, bool causal) {
  const bool grouped = call.q_BHTD.size(1) != call.k_BHTD.size(1);
  return at::scaled_dot_product_attention(call.q_BHTD, call.k_BHTD, call.v_BHTD, std::nullopt, 0.0,
                                          causal, call.scale, grouped);
}

at::Tensor Doubles(const std::vector<double>& values, const c10::Device& device) {
  return at::tensor(values, at::TensorOptions().dtype(at::kDouble)).to(device);
}

Status CheckFused(const TermSpec& terms, std::string_view method, const AttentionShape& shape,
                  const Compute& compute) {
  if (!compute.device.is_cpu()) {
    return Status(Code::kUnimplemented,
                  "attention back-end \"fused\" runs on a CPU: use the back-end \"reference\"");
  }
  if (compute.dtype == at::kDouble) {
    return Status(Code::kUnimplemented,
                  "attention back-end \"fused\" computes in fp32 and bf16: use the back-end "
                  "\"reference\"");
  }
  return CheckFusedAttention(terms, method, shape);
}

// The numbers for n positions; growth counts from their middle.
std::shared_ptr<const RotationNumbers> MakeRotationNumbers(const Rotation& rotation,
                                                           double magnitude, std::int64_t n) {
  RotationNumbers numbers = {.n_rotary = 2 * static_cast<std::int64_t>(rotation.frequency.size()),
                             .layout = rotation.layout == Rotation::Layout::kHalf
                                           ? RotationTable::Layout::kHalf
                                           : RotationTable::Layout::kInterleaved};
  const std::int64_t middle = (n + 1) / 2;
  const auto n_pairs = static_cast<std::int64_t>(rotation.frequency.size());
  numbers.cos.reserve(static_cast<std::size_t>(n * n_pairs));
  numbers.sin.reserve(static_cast<std::size_t>(n * n_pairs));
  for (std::int64_t t = 0; t < n; ++t) {
    for (const double frequency : rotation.frequency) {
      const double angle = static_cast<double>(t) * frequency;
      numbers.cos.push_back(std::cos(angle) * magnitude);
      numbers.sin.push_back(std::sin(angle) * magnitude);
    }
    for (const double growth : rotation.growth) {
      numbers.growth.push_back(std::exp(growth * static_cast<double>(t - middle)));
    }
  }
  return std::make_shared<const RotationNumbers>(std::move(numbers));
}

}  // namespace

Result<AttentionBackend> ParseAttentionBackend(std::string_view name) {
  if (name == "reference") return AttentionBackend::kReference;
  if (name == "torch") return AttentionBackend::kTorch;
  if (name == "fused") return AttentionBackend::kFused;
  return Status(Code::kInvalidArgument, Str("attention back-end \"", name,
                                            "\" is unknown: auto, reference, torch or fused"));
}

Attention::Attention(TermSpec terms, const AttentionShape& shape, AttentionBackend backend,
                     const Compute& compute)
    : terms_(std::move(terms)), shape_(shape), backend_(backend), compute_(compute) {}

Result<Attention> Attention::Make(TermSpec terms, std::string_view method,
                                  const AttentionShape& shape, AttentionBackend backend,
                                  const Compute& compute) {
  const bool has_bias = terms.key_bias_slope || terms.key_bias_gate || terms.distance_bias ||
                        terms.distance_network || terms.content_position;
  if (backend == AttentionBackend::kTorch && has_bias) {
    return Status(
        Code::kUnimplemented,
        Str("attention back-end \"torch\" cannot add to the scores, and position method \"", method,
            "\" does: use the back-end \"auto\", \"fused\" or \"reference\""));
  }
  if (backend == AttentionBackend::kTorch && shape.window > 0) {
    return Status(Code::kUnimplemented,
                  Str("attention back-end \"torch\" has no sliding window, and the model's is ",
                      shape.window, " tokens: use the back-end \"reference\""));
  }
  const AttentionKernel* kernel = nullptr;
  if (backend == AttentionBackend::kFused) {
    RETURN_IF_ERROR(CheckFused(terms, method, shape, compute));
    ASSIGN_OR_RETURN(kernel, KernelOfMachine());
  }
  Attention attention(std::move(terms), shape, backend, compute);
  attention.kernel_ = kernel;
  return attention;
}

void Attention::SetRotation(std::vector<double> frequency, double magnitude) {
  LR_CHECK(terms_.rotation && frequency.size() == terms_.rotation->frequency.size());
  if (frequency == terms_.rotation->frequency && magnitude == magnitude_) return;
  terms_.rotation->frequency = std::move(frequency);
  magnitude_ = magnitude;
  rotation_numbers_.reset();
  cos_TR_.reset();
  sin_TR_.reset();
}

// y[c] = x[c] cos - x[c + R/2] sin, y[c + R/2] = x[c + R/2] cos + x[c] sin (half), or the same on
// pairs (2c, 2c + 1) (interleaved). Angles are computed in double. Row t of x is at position
// begin + t.
at::Tensor Attention::Rotate(const at::Tensor& x_BHTD, std::int64_t begin) {
  const std::int64_t n_positions = begin + x_BHTD.size(2);
  const std::int64_t n_pairs = static_cast<std::int64_t>(terms_.rotation->frequency.size());
  if (!cos_TR_.defined() || cos_TR_.size(0) < n_positions) {
    // Double the table, so that generating token by token does not make a new one each time.
    const std::int64_t n_rows =
        begin > 0 && cos_TR_.defined() ? std::max(n_positions, 2 * cos_TR_.size(0)) : n_positions;
    const at::Tensor position =
        at::arange(n_rows, at::TensorOptions().dtype(at::kDouble).device(compute_.device));
    const at::Tensor angle =
        at::outer(position, Doubles(terms_.rotation->frequency, compute_.device));
    cos_TR_ = (at::cos(angle) * magnitude_).to(compute_.dtype);
    sin_TR_ = (at::sin(angle) * magnitude_).to(compute_.dtype);
  }
  const at::Tensor cos = cos_TR_.narrow(0, begin, x_BHTD.size(2));
  const at::Tensor sin = sin_TR_.narrow(0, begin, x_BHTD.size(2));

  const at::Tensor turning = x_BHTD.narrow(3, 0, 2 * n_pairs).to(compute_.dtype);
  at::Tensor turned;
  if (terms_.rotation->layout == Rotation::Layout::kHalf) {
    const at::Tensor a = turning.narrow(3, 0, n_pairs);
    const at::Tensor b = turning.narrow(3, n_pairs, n_pairs);
    turned = at::cat({a * cos - b * sin, b * cos + a * sin}, 3);
  } else {
    const at::Tensor pairs = turning.unflatten(3, {n_pairs, 2});
    const at::Tensor a = pairs.select(4, 0);
    const at::Tensor b = pairs.select(4, 1);
    turned = at::stack({a * cos - b * sin, b * cos + a * sin}, 4).flatten(3, 4);
  }
  turned = turned.to(x_BHTD.scalar_type());
  const std::int64_t n_fixed = x_BHTD.size(3) - 2 * n_pairs;
  if (n_fixed == 0) return turned;
  return at::cat({turned, x_BHTD.narrow(3, 2 * n_pairs, n_fixed)}, 3);
}

// x[c] * exp(sign * growth[c] * (t - middle)) for each rotated pair; row t of x is at
// begin_from_middle + t.
at::Tensor Attention::Grow(const at::Tensor& x_BHTD, std::int64_t begin_from_middle,
                           double sign) const {
  const at::Tensor growth = Doubles(terms_.rotation->growth, compute_.device) * sign;
  const at::Tensor position =
      at::arange(begin_from_middle, begin_from_middle + x_BHTD.size(2), growth.options());
  const at::Tensor factor_TR = at::exp(at::outer(position, growth)).to(compute_.dtype);
  const bool half = terms_.rotation->layout == Rotation::Layout::kHalf;
  const at::Tensor factor_TD =
      half ? at::cat({factor_TR, factor_TR}, 1) : factor_TR.repeat_interleave(2, 1);
  const std::int64_t n_turned = factor_TD.size(1), n_fixed = x_BHTD.size(3) - n_turned;
  at::Tensor grown =
      (x_BHTD.narrow(3, 0, n_turned).to(compute_.dtype) * factor_TD).to(x_BHTD.scalar_type());
  if (n_fixed == 0) return grown;
  return at::cat({grown, x_BHTD.narrow(3, n_turned, n_fixed)}, 3);
}

// Rotates queries or keys, as `sign` says: the first is at position `begin` of a sequence with
// this middle.
at::Tensor Attention::Rotated(const at::Tensor& x_BHTD, std::int64_t begin, std::int64_t middle,
                              double sign) {
  if (!terms_.rotation) return x_BHTD;
  at::Tensor turned_BHTD = Rotate(x_BHTD, begin);
  if (terms_.rotation->growth.empty()) return turned_BHTD;
  return Grow(turned_BHTD, begin - middle, sign);
}

const at::Tensor& Attention::Learned(const Tensors& learned, std::string_view name) const {
  for (std::size_t i = 0; i < terms_.learned.size(); ++i) {
    if (terms_.learned[i].name == name) return learned[i];
  }
  LR_CHECK(false);
  std::abort();
}

Attention::Tensors Attention::Learned(const Tensors& learned,
                                      const std::vector<std::string>& names) const {
  Tensors tensors;
  tensors.reserve(names.size());
  for (const std::string& name : names) tensors.push_back(Learned(learned, name));
  return tensors;
}

// The part of the bias that depends only on i - j (visibility, slopes), for the queries
// [q_begin, q_begin + n_query) and n_key keys from k_begin on: a view into one
// table for all blocks,
//   table[h][r][m] = bias at distance i - j = r + (P - Q) - m,   key j = m + q_begin - (P - Q)
// where P is n_positions rounded up to whole blocks of Q queries.
// Undefined if there is no such part.
at::Tensor Attention::StaticBias(std::int64_t q_begin, std::int64_t n_query, std::int64_t k_begin,
                                 std::int64_t n_key, std::int64_t block, std::int64_t n_positions) {
  if (!shape_.causal && !terms_.key_bias_slope) return {};
  if (static_block_ != block || static_positions_ < n_positions) {
    const std::int64_t behind = (n_positions + block - 1) / block * block - block;
    const std::int64_t width = behind + (shape_.causal ? block : n_positions);
    const auto ints = at::TensorOptions().dtype(at::kLong).device(compute_.device);
    const at::Tensor ahead =  // j - i
        (at::arange(width, ints) - behind).unsqueeze(0) - at::arange(block, ints).unsqueeze(1);
    at::Tensor bias = at::zeros({1, block, width}, ints.dtype(at::kDouble));
    if (terms_.key_bias_slope) {
      const at::Tensor slope = Doubles(terms_.key_bias_slope->slope, compute_.device);
      const at::Tensor distance = terms_.key_bias_slope->two_sided ? -at::abs(ahead) : ahead;
      bias = slope.view({-1, 1, 1}) * distance.to(at::kDouble).unsqueeze(0);
    }
    if (shape_.causal) {
      at::Tensor hidden = ahead.gt(0);
      if (shape_.window > 0) hidden = hidden.logical_or(ahead.le(-shape_.window));
      bias = bias.masked_fill(hidden.unsqueeze(0), -std::numeric_limits<double>::infinity());
    }
    static_bias_ = bias.to(compute_.dtype);
    static_block_ = block;
    static_positions_ = n_positions;
  }
  const std::int64_t behind = (static_positions_ + block - 1) / block * block - block;
  return static_bias_.narrow(1, 0, n_query).narrow(2, behind - q_begin + k_begin, n_key);
}

// Adds to the scores what is more than a number per key: the bias of a distance, of a network over
// distances, of positions counted by content. Query 0 is at q_begin, key 0 at k_begin; hidden keys
// are already hidden. Changes `scores_BHQK` itself where it can.
at::Tensor Attention::WithPositions(const at::Tensor& scores_BHQK, const at::Tensor& q_BHQD,
                                    const Call& call, const Prepared& prepared,
                                    std::int64_t q_begin, std::int64_t k_begin) const {
  const std::int64_t n_query = scores_BHQK.size(2), n_key = scores_BHQK.size(3);
  if (prepared.distances_HN.defined()) {
    scores_BHQK.add_(
        DistanceBlock(prepared.distances_HN, prepared.first, q_begin - k_begin, n_query, n_key));
  }
  if (terms_.distance_network) {
    const DistanceNetwork& net = *terms_.distance_network;
    const std::vector<at::Tensor> learned =
        Learned(call.learned, {net.w1, net.b1, net.w2, net.b2, net.c, net.lambda});
    scores_BHQK.add_(NetworkBlock(net, learned, q_begin, n_query, k_begin, n_key));
  }
  if (!terms_.content_position) return scores_BHQK;
  return scores_BHQK +
         ContentBlock(q_BHQD, scores_BHQK, Learned(call.learned, terms_.content_position->table));
}

at::Tensor Attention::BlockForward(const Call& call, const Prepared& prepared, std::int64_t q_begin,
                                   std::int64_t n_query, std::int64_t block) {
  const at::Tensor& cumulated_BHT = prepared.cumulated_BHT;
  const std::int64_t n_positions = call.q_BHTD.size(2);
  // The block's queries see only keys from k_begin on, n_key of them.
  const std::int64_t k_begin =
      shape_.window > 0 ? std::max<std::int64_t>(0, q_begin - shape_.window + 1) : 0;
  const std::int64_t n_key = (shape_.causal ? q_begin + n_query : n_positions) - k_begin;
  const at::Tensor q_BHQD = Part(call.q_BHTD, 2, q_begin, n_query);
  const at::Tensor k_BHKD = Part(call.k_BHTD, 2, k_begin, n_key);
  const at::Tensor v_BHKD = Part(call.v_BHTD, 2, k_begin, n_key);

  at::Tensor scores = Scores(q_BHQD * call.scale, k_BHKD).to(compute_.dtype);
  if (cumulated_BHT.defined()) {
    const at::Tensor anchor = cumulated_BHT.narrow(2, q_begin, 1).detach();
    const at::Tensor key = (Part(cumulated_BHT, 2, k_begin, n_key) - anchor).to(compute_.dtype);
    if (terms_.key_bias_gate->two_sided) {
      const at::Tensor query =
          (cumulated_BHT.narrow(2, q_begin, n_query) - anchor).to(compute_.dtype);
      scores = scores - at::abs(query.unsqueeze(3) - key.unsqueeze(2));
    } else {
      scores = scores.sub_(key.unsqueeze(2));  // b_i is the same in all of its row, so it cancels
    }
  }
  const at::Tensor bias = StaticBias(q_begin, n_query, k_begin, n_key, block, n_positions);
  if (bias.defined() && terms_.rotation && !terms_.rotation->growth.empty()) {
    // For a key ahead, growth may make the score infinite,
    // which would give NaN with its bias of -inf.
    scores = scores.masked_fill(at::isneginf(bias), -std::numeric_limits<double>::infinity());
  }
  if (bias.defined()) scores = scores.add_(bias);
  scores = WithPositions(scores, q_BHQD, call, prepared, q_begin, k_begin);
  const at::Tensor p = at::softmax(scores, -1);
  if (call.observer != nullptr) {
    Show(call, prepared,
         {.scores_BHQK = scores, .p_BHQK = p, .q_begin = q_begin, .k_begin = k_begin});
  }
  return Mix(p.to(compute_.product), v_BHKD);
}

void Attention::Show(const Call& call, const Prepared& prepared, AttentionBlock block) const {
  if (prepared.cumulated_BHT.defined() && !terms_.key_bias_gate->two_sided) {
    // Adds b_i relative to the block's first query, which the block leaves out.
    const at::Tensor b_BHQ =
        prepared.cumulated_BHT.narrow(2, block.q_begin, block.scores_BHQK.size(2));
    const at::Tensor row_BHQ = (b_BHQ - b_BHQ.narrow(2, 0, 1)).to(compute_.dtype);
    block.scores_BHQK = block.scores_BHQK + row_BHQ.unsqueeze(3);
  }
  (*call.observer)(block);
}

// b_t = minus the sum up to t of what each token adds to the cost.
at::Tensor Attention::Cumulated(const Call& call) const {
  const KeyBiasGate& gate = *terms_.key_bias_gate;
  const at::Tensor h_BTH =
      at::linear(call.x_BTC, Learned(call.learned, gate.weight), Learned(call.learned, gate.bias))
          .to(compute_.dtype);
  return CumulatedGate(h_BTH, gate.gate == KeyBiasGate::Gate::kLogSigmoid, compute_);
}

// A causal mask hides keys ahead, but a block still reads a bias for them.
std::int64_t Attention::FirstDistance(std::int64_t n_positions) const {
  const std::int64_t n_ahead = shape_.causal ? std::min(n_positions, kBlockQueries) : n_positions;
  return 1 - n_ahead;
}

at::Tensor Attention::Distances(const Tensors& learned, std::int64_t n_positions) const {
  if (!terms_.distance_bias) return {};
  const std::int64_t first = FirstDistance(n_positions);
  return DistanceRow(*terms_.distance_bias, Learned(learned, terms_.distance_bias->learned),
                     shape_.n_head, first, n_positions - first,
                     at::TensorOptions().dtype(compute_.dtype).device(compute_.device));
}

// For queries at the end of n_key keys, or for all of them.
Attention::Prepared Attention::Prepare(const Call& call, std::int64_t n_key) const {
  Prepared prepared = {.last = n_key - 1, .first = FirstDistance(n_key)};
  prepared.distances_HN =
      call.distances_HN.defined() ? call.distances_HN : Distances(call.learned, n_key);
  return prepared;
}

at::Tensor Attention::AllBlocks(const Call& call, const Prepared& prepared) {
  const std::int64_t n_positions = call.q_BHTD.size(2);
  std::int64_t n_rows = call.q_BHTD.size(0) * call.q_BHTD.size(1);
  if (terms_.distance_network) {  // its hidden units take memory beside the scores
    n_rows = std::max(n_rows, Learned(call.learned, terms_.distance_network->b1).numel());
  }
  const std::int64_t block = BlockQueries(n_rows, n_positions);
  const std::int64_t n_blocks = (n_positions + block - 1) / block;
  std::vector<at::Tensor> blocks(static_cast<std::size_t>(n_blocks));
  // Without gradients the last block comes first: all others fit into the memory that
  // the longest frees.
  const bool from_last = !at::GradMode::is_enabled() && call.observer == nullptr;
  for (std::int64_t n_done = 0; n_done < n_blocks; ++n_done) {
    const std::int64_t b = from_last ? n_blocks - 1 - n_done : n_done;
    const std::int64_t begin = b * block, n_query = std::min(block, n_positions - begin);
    blocks[static_cast<std::size_t>(b)] = BlockForward(call, prepared, begin, n_query, block);
  }
  return blocks.size() == 1 ? blocks.front() : at::cat(blocks, 2);
}

// All queries by the kernel, with the terms in its form.
at::Tensor Attention::Kernel(const Call& call) {
  const std::int64_t n_positions = call.q_BHTD.size(2);
  KernelAttentionCall kernel = {.kernel = kernel_,
                                .q_BHTD = call.q_BHTD,
                                .k_BHTD = call.k_BHTD,
                                .v_BHTD = call.v_BHTD,
                                .scale = call.scale,
                                .causal = shape_.causal,
                                .window = shape_.window};
  if (terms_.rotation) {
    if (!rotation_numbers_ || rotation_positions_ != n_positions) {
      rotation_numbers_ = MakeRotationNumbers(*terms_.rotation, magnitude_, n_positions);
      rotation_positions_ = n_positions;
    }
    kernel.rotation = rotation_numbers_;
  }
  if (terms_.key_bias_slope) {
    kernel.two_sided = terms_.key_bias_slope->two_sided;
    // For two-sided -slope |i - j|, the kernel needs r = -slope t.
    for (const double slope : terms_.key_bias_slope->slope) {
      kernel.slope_H.push_back(kernel.two_sided ? -slope : slope);
    }
  }
  if (terms_.key_bias_gate) {
    kernel.two_sided = terms_.key_bias_gate->two_sided;
    const at::Tensor b_BHT = Cumulated(call);
    kernel.key_bias_BHT = kernel.two_sided ? b_BHT : -b_BHT;
  }
  if (terms_.distance_bias) {
    const Prepared prepared = Prepare(call, n_positions);
    kernel.distances_HN = prepared.distances_HN;
    kernel.first_distance = prepared.first;
  }
  if (terms_.distance_network) {
    const DistanceNetwork& net = *terms_.distance_network;
    NetworkPieces pieces =
        PiecesOf(net, Learned(call.learned, {net.w1, net.b1, net.w2, net.b2, net.c, net.lambda}),
                 n_positions);
    kernel.psi_T = std::move(pieces.psi_T);
    kernel.row_factor_T = std::move(pieces.row_factor_T);
    kernel.knots_K = std::move(pieces.knots_K);
    kernel.slope_HS = std::move(pieces.slope_HS);
    kernel.intercept_HS = std::move(pieces.intercept_HS);
  }
  return KernelAttention(kernel);
}

at::Tensor Attention::Forward(const Call& given) {
  if (backend_ == AttentionBackend::kFused && given.observer == nullptr) return Kernel(given);
  Call call = given;
  const std::int64_t n_positions = call.q_BHTD.size(2);
  const std::int64_t middle = (n_positions + 1) / 2;
  call.q_BHTD = Rotated(given.q_BHTD, 0, middle, kOfQueries);
  call.k_BHTD = Rotated(given.k_BHTD, 0, middle, kOfKeys);
  if (backend_ == AttentionBackend::kTorch && call.observer == nullptr) {
    return TorchAttention(call, shape_.causal);
  }
  Prepared prepared = Prepare(call, n_positions);
  if (terms_.key_bias_gate) prepared.cumulated_BHT = Cumulated(call);
  return AllBlocks(call, prepared);
}

// One query after all given keys: none is hidden, and a bias relative to the query is
//   learned: b_i - b_j = b_last - b_j,   slopes: -slope (last - j)
// in the one- and in the two-sided form.
at::Tensor Attention::LastQuery(const Call& call, const Prepared& prepared) const {
  if (backend_ == AttentionBackend::kTorch) return TorchAttention(call, false);
  const std::int64_t last = call.k_BHTD.size(2) - 1;
  at::Tensor scores = Scores(call.q_BHTD * call.scale, call.k_BHTD);
  scores = scores.to(compute_.dtype);
  if (prepared.cumulated_BHT.defined()) {
    const at::Tensor ahead = prepared.cumulated_BHT.narrow(2, last, 1) - prepared.cumulated_BHT;
    scores = scores + ahead.to(compute_.dtype).unsqueeze(2);
  }
  if (terms_.key_bias_slope) {
    const at::Tensor slope = Doubles(terms_.key_bias_slope->slope, compute_.device);
    const at::Tensor behind = at::arange(last + 1, slope.options()) - last;
    scores = scores + (slope.view({-1, 1, 1}) * behind).to(compute_.dtype);
  }
  scores = WithPositions(scores, call.q_BHTD, call, prepared, prepared.last, prepared.last - last);
  return Mix(at::softmax(scores, -1).to(compute_.product), call.v_BHTD);
}

at::Tensor Attention::ForwardBehind(const Call& given, AttentionCache& cache) {
  const std::int64_t begin = cache.n, n = given.q_BHTD.size(2);
  LR_CHECK(shape_.causal && (begin == 0 || n == 1) && begin + n <= cache.k_BHTD.size(2));
  const std::int64_t middle = (cache.k_BHTD.size(2) + 1) / 2;
  Call call = given;
  call.k_BHTD = Rotated(given.k_BHTD, begin, middle, kOfKeys);
  cache.k_BHTD.narrow(2, begin, n).copy_(call.k_BHTD);
  cache.v_BHTD.narrow(2, begin, n).copy_(call.v_BHTD);
  if (terms_.key_bias_gate) {
    at::Tensor added = Cumulated(call);
    if (begin > 0) added = added + cache.cumulated_BHT.narrow(2, begin - 1, 1);
    cache.cumulated_BHT.narrow(2, begin, n).copy_(added);
  }
  cache.n = begin + n;
  const bool is_prompt = begin == 0;
  // The kernel rotates q and k itself, and computes its own distances.
  if (is_prompt && backend_ == AttentionBackend::kFused) return Kernel(given);
  call.q_BHTD = Rotated(given.q_BHTD, begin, middle, kOfQueries);
  Prepared prepared = Prepare(call, cache.n);
  if (terms_.key_bias_gate) prepared.cumulated_BHT = cache.cumulated_BHT.narrow(2, 0, cache.n);
  if (!is_prompt) {
    const std::int64_t n_seen = shape_.window > 0 ? std::min(shape_.window, cache.n) : cache.n;
    call.k_BHTD = cache.k_BHTD.narrow(2, cache.n - n_seen, n_seen);
    call.v_BHTD = cache.v_BHTD.narrow(2, cache.n - n_seen, n_seen);
    if (prepared.cumulated_BHT.defined()) {
      prepared.cumulated_BHT = prepared.cumulated_BHT.narrow(2, cache.n - n_seen, n_seen);
    }
    return LastQuery(call, prepared);
  }
  if (backend_ == AttentionBackend::kTorch) return TorchAttention(call, true);
  return AllBlocks(call, prepared);
}

}  // namespace longrun
