// Fused attention compared with LibTorch's scaled_dot_product_attention on the CPU: one JSON object
// per line, in the form that ./dev bench reads.
//
//   longrun-attention-bench [--rounds N] [--type fp32|bf16|fp16] [--heads H] [--head-dim D] [T ...]
//
// One thread; process time, since machines are shared; ours and the peer in turn (A B A B ...),
// after two rounds that are not counted; prints the rates of all rounds. Inputs are random. The
// peer computes the same numbers: it gets a bias as a T x T mask in fp32, made before the clock
// starts. Subnormal numbers are flushed for both, so that neither pays for them
// (subnormals_bench.cc measures their cost).
//
// FLOP: 4 B H T^2 D forward, halved when causal; 2.5 times that backward.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/triu.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/measurement.h"
#include "base/str.h"
#include "base/subnormals.h"
#include "kernels/attention.h"
#include "kernels/backends.h"
#include "kernels/tensor_heads.h"

namespace longrun {
namespace {

struct Setting {
  std::int64_t batch = 1, n_head = 12, length = 1024, head_dim = 64;
  at::ScalarType type = at::kFloat;
  int rounds = 15;
};

double SecondsOf(const std::function<void()>& work) {
  const double begin = ProcessCpuSeconds();
  work();
  return ProcessCpuSeconds() - begin;
}

// Views of a tensor (B, T, H, D).
HeadsView View(const at::Tensor& x_BTHD) { return HeadsOf<HeadsView>(x_BTHD.transpose(1, 2)); }
HeadsBuffer Buffer(const at::Tensor& x_BTHD) {
  return HeadsOf<HeadsBuffer>(x_BTHD.transpose(1, 2));
}

// The target for the CPU's attention relative to LibTorch's on an AMD processor with AVX-512.
std::string_view Target(const Setting& s, bool with_bias, bool backward) {
  if (s.type == at::kFloat) {
    if (backward) return with_bias ? "ratio >= 3.5" : "ratio >= 1.8";
    return with_bias ? "ratio >= 4" : "ratio >= 2.2";
  }
  if (with_bias || s.type != at::kBFloat16) return "";
  return backward ? "ratio >= 1.5" : "ratio >= 2.5";
}

std::string_view TypeName(at::ScalarType type) {
  return type == at::kFloat ? "fp32" : type == at::kHalf ? "fp16" : "bf16";
}

// Prints the GFLOP/s of each round.
void PrintRates(const Setting& s, std::string_view pass, std::string_view peer,
                const std::vector<double>& ours, const std::vector<double>& peers, double flop,
                std::string_view target) {
  Measurement found = {.name = Str("attention, ", TypeName(s.type), ", ", s.n_head, " heads of ",
                                   s.head_dim, ", T = ", s.length, ": ", pass),
                       .unit = "GFLOP/s",
                       .what_baseline = std::string(peer),
                       .target = std::string(target)};
  for (std::size_t round = 0; round < ours.size(); ++round) {
    found.ours.push_back(1e-9 * flop / ours[round]);
    found.baseline.push_back(1e-9 * flop / peers[round]);
  }
  Print(found);
}

// Measures causal attention, plain or with a bias per key.
void Measure(const Setting& s, bool with_bias) {
  const auto options = at::TensorOptions().dtype(s.type);
  const std::vector<std::int64_t> shape = {s.batch, s.length, s.n_head, s.head_dim};
  // In the layout of a fused projection.
  const at::Tensor qkv_BTCHD =
      at::randn({s.batch, s.length, 3, s.n_head, s.head_dim}, at::kFloat).to(s.type);
  const at::Tensor q = qkv_BTCHD.select(2, 0), k = qkv_BTCHD.select(2, 1),
                   v = qkv_BTCHD.select(2, 2);
  const at::Tensor do_BTHD = at::randn(shape, at::kFloat).to(s.type);
  const at::Tensor c_BHT =
      at::randn({s.batch, s.n_head, s.length}, at::kDouble).abs().cumsum(2).contiguous();
  const double scale = 1.0 / std::sqrt(static_cast<double>(s.head_dim));

  const auto numbers = static_cast<std::size_t>(c_BHT.numel());
  AttentionTerms terms = {.scale = scale};
  if (with_bias) {
    terms.key_bias = KeyBias{.values = {c_BHT.data_ptr<double>(), numbers}};
  }
  std::vector<double> lse(numbers), dc(with_bias ? numbers : 0);
  const at::Tensor o = at::zeros(shape, options), dq = at::zeros(shape, options),
                   dk = at::zeros(shape, options), dv = at::zeros(shape, options);
  const AttentionKernel& kernel = *FindAttentionKernel("cpu");
  const AttentionInputs inputs = {.q = View(q), .k = View(k), .v = View(v)};
  const auto forward = [&] {
    LR_CHECK(kernel.forward({.inputs = inputs, .o = Buffer(o), .lse = lse}, terms, {}).ok());
  };
  const auto backward = [&] {
    LR_CHECK(kernel
                 .backward({.inputs = inputs,
                            .o = View(o),
                            .do_ = View(do_BTHD),
                            .lse = lse,
                            .dq = Buffer(dq),
                            .dk = Buffer(dk),
                            .dv = Buffer(dv),
                            .d_key_bias = dc},
                           terms, {})
                 .ok());
  };

  // The peer's layout is (B, H, T, D), and its bias is a mask.
  std::vector<at::Tensor> leaves;
  for (const at::Tensor& x : {q, k, v}) {
    leaves.push_back(x.transpose(1, 2).detach().requires_grad_(true));
  }
  std::optional<at::Tensor> mask;
  if (with_bias) {
    const at::Tensor hidden =
        at::full({s.length, s.length}, -std::numeric_limits<float>::infinity()).triu(1);
    mask = (c_BHT - c_BHT.select(2, 0).unsqueeze(2)).to(at::kFloat).unsqueeze(2) + hidden;
    mask->requires_grad_(true);
    leaves.push_back(*mask);
  }
  at::Tensor peer_o;
  const auto peer_forward = [&] {
    peer_o = at::scaled_dot_product_attention(leaves[0], leaves[1], leaves[2], mask, 0.0,
                                              !with_bias, scale);
  };
  // Without a gradient of the mask the peer takes its fused kernel, which is the closer comparison.
  const at::Tensor do_BHTD = do_BTHD.transpose(1, 2);
  if (with_bias) {
    mask = mask->detach();
    leaves.pop_back();
  }
  const auto peer_backward = [&] {
    torch::autograd::grad({peer_o}, {leaves[0], leaves[1], leaves[2]}, {do_BHTD}, true);
  };

  std::vector<double> ours[2], peers[2];
  constexpr int kWarm = 2;
  for (int round = 0; round < s.rounds + kWarm; ++round) {
    const double times[] = {SecondsOf(forward), SecondsOf(peer_forward), SecondsOf(backward),
                            SecondsOf(peer_backward)};
    if (round < kWarm) continue;
    for (int pass = 0; pass < 2; ++pass) {
      ours[pass].push_back(times[2 * pass]);
      peers[pass].push_back(times[2 * pass + 1]);
    }
  }
  const at::Tensor apart =
      (o.to(at::kDouble) - peer_o.detach().transpose(1, 2).to(at::kDouble)).abs().max();
  const double difference = *apart.data_ptr<double>();
  LR_CHECK(difference < (s.type == at::kFloat ? 1e-3 : 5e-2));  // both computed the same thing
  const double flop = 2.0 * static_cast<double>(s.batch * s.n_head * s.head_dim) *
                      static_cast<double>(s.length) * static_cast<double>(s.length);
  const std::string_view peer = with_bias ? "torch sdpa with a mask" : "torch sdpa";
  PrintRates(s, with_bias ? "forward with a key bias" : "forward", peer, ours[0], peers[0], flop,
             Target(s, with_bias, false));
  PrintRates(s, with_bias ? "backward with its gradient" : "backward",
             with_bias ? "torch sdpa with a mask, no gradient of it" : peer, ours[1], peers[1],
             2.5 * flop, Target(s, with_bias, true));
}

int Main(int argc, char** argv) {
  at::set_num_threads(1);
  SetSubnormals(DefaultSubnormals());
  at::manual_seed(1);
  Setting setting;
  std::vector<std::int64_t> lengths;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const bool has_value = i + 1 < argc;
    if (word == "--rounds" && has_value) {
      setting.rounds = std::atoi(argv[++i]);
    } else if (word == "--heads" && has_value) {
      setting.n_head = std::atoll(argv[++i]);
    } else if (word == "--head-dim" && has_value) {
      setting.head_dim = std::atoll(argv[++i]);
    } else if (word == "--type" && has_value) {
      const std::string_view type = argv[++i];
      setting.type = type == "bf16" ? at::kBFloat16 : type == "fp16" ? at::kHalf : at::kFloat;
    } else if (std::atoll(argv[i]) > 0) {
      lengths.push_back(std::atoll(argv[i]));
    } else {
      std::fprintf(stderr,
                   "usage: longrun-attention-bench [--rounds N] [--type fp32|bf16|fp16] "
                   "[--heads H] [--head-dim D] [T ...]\n");
      return 64;
    }
  }
  if (lengths.empty()) lengths = {1024, 2048, 4096};
  for (const std::int64_t length : lengths) {
    setting.length = length;
    Measure(setting, false);
    Measure(setting, true);
  }
  return 0;
}

}  // namespace
}  // namespace longrun

int main(int argc, char** argv) { return longrun::Main(argc, argv); }
