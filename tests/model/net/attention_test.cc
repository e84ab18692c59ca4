#include "model/net/attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/max.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "kernels/reference/attention.h"
#include "kernels/reference/key_bias.h"
#include "kernels/rotation.h"
#include "model/net/kernel_attention.h"

namespace longrun {
namespace {

// As tests/kernels/fixture.h: element n of G(shape, a, b) is sin(a n + b).
at::Tensor G(const std::vector<std::int64_t>& shape, double a, double b) {
  std::int64_t n = 1;
  for (const std::int64_t size : shape) n *= size;
  return at::sin(at::arange(n, at::kDouble) * a + b).view(shape);
}

double MaxDifference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

std::span<const double> View(const at::Tensor& x) {
  return {x.const_data_ptr<double>(), static_cast<std::size_t>(x.numel())};
}
at::Tensor Tensor(std::vector<double>& values, at::IntArrayRef shape) {
  return at::from_blob(values.data(), shape, at::kDouble).clone();
}

struct Case {
  const char* name;
  Json position;
  bool causal = true;
};

void PrintTo(const Case& given, std::ostream* out) { *out << given.name; }

const Case kCases[] = {
    {"none", "none"},
    {"learned", "learned"},
    {"sinusoidal", "sinusoidal"},
    {"rope_half", "rope"},
    {"rope_interleaved", {{"method", "rope"}, {"layout", "interleaved"}}},
    {"rope_partial", {{"method", "rope"}, {"partial", 0.5}}},
    {"rope_bidirectional", "rope", false},
    {"alibi", "alibi"},
    {"alibi_symmetric", {{"method", "alibi"}, {"variant", "symmetric"}}, false},
    {"alibi_jaketae", {{"method", "alibi"}, {"variant", "jaketae"}}, false},
    {"cable", "cable"},
    {"cable_scaled", {{"method", "cable"}, {"variant", "scaled"}}},
    {"cable_augmented", {{"method", "cable"}, {"variant", "augmented"}}},
    {"cable_bidirectional", {{"method", "cable"}, {"variant", "bidirectional"}}, false},
};

// One attention with its inputs; T spans two blocks of queries, the second cut short.
struct Problem {
  static constexpr std::int64_t kB = 2, kH = 3, kT = 133, kD = 8, kC = kH * kD;

  explicit Problem(const Case& given) {
    const PositionConfig position = ResolvePosition(given.position).value();
    const PositionMethod* method = FindPositionMethod(position.method).value();
    shape = {.n_head = kH, .head_dim = kD, .d_model = kC, .causal = given.causal};
    terms = method->terms(position.params, shape).value();
    q = G({kB, kH, kT, kD}, 0.37, 0.11);
    k = G({kB, kH, kT, kD}, 0.53, 0.29);
    v = G({kB, kH, kT, kD}, 0.71, 0.05);
    x = G({kB, kT, kC}, 0.23, 0.17);
    weight = G({kH, kC}, 0.41, 0.31) * 0.1;
    bias = G({kH}, 0.9, 0.2) * 0.1;
  }

  at::Tensor Run(AttentionBackend backend, const char* precision) const {
    const Compute compute = OpenCompute("cpu", precision).value();
    Attention attention = Attention::Make(terms, "the case's", shape, backend, compute).value();
    const auto cast = [&](const at::Tensor& t) { return t.to(compute.dtype); };
    return attention.Forward({.q_BHTD = cast(q),
                              .k_BHTD = cast(k),
                              .v_BHTD = cast(v),
                              .x_BTC = cast(x),
                              .learned = {cast(weight), cast(bias)},
                              .scale = terms.scale,
                              .position_ids_BT = position_ids,
                              .n_positions = n_positions});
  }

  // The same through kernels/reference; gradients for dL/do = o_gradient.
  AttentionOutput Reference(const at::Tensor& o_gradient, AttentionGradient& gradient) const {
    const AttentionInput input = {.size = {.batch = kB,
                                           .n_head = kH,
                                           .n_kv_head = kH,
                                           .n_query = kT,
                                           .n_key = kT,
                                           .head_dim = kD},
                                  .q = View(q),
                                  .k = View(k),
                                  .v = View(v)};
    AttentionTerms plain = {.scale = terms.scale, .visibility = {.causal = shape.causal}};
    std::vector<double> key;
    if (terms.key_bias_slope) {
      const bool two_sided = terms.key_bias_slope->two_sided;
      for (std::int64_t b = 0; b < kB; ++b) {
        for (std::int64_t h = 0; h < kH; ++h) {
          // Two-sided: bias = r_i - r_j to the left; -m (i - j) asks for r = -m t.
          const double m = terms.key_bias_slope->slope[static_cast<std::size_t>(h)];
          for (std::int64_t t = 0; t < kT; ++t) {
            key.push_back((two_sided ? -m : m) * static_cast<double>(t));
          }
        }
      }
      plain.key_bias = KeyBias{.values = key, .two_sided = two_sided};
    }
    if (terms.key_bias_gate) {
      const at::Tensor a = (x.matmul(weight.t()) + bias).contiguous();
      key = ReferenceKeyBiasForward({.batch = kB, .n_head = kH, .n_key = kT}, View(a));
      if (!terms.key_bias_gate->two_sided) {
        for (double& value : key) value = -value;
      }
      plain.key_bias = KeyBias{.values = key, .two_sided = terms.key_bias_gate->two_sided};
    }
    RotationTableData table;
    if (terms.rotation) {
      table = MakeRotationTable(terms.rotation->frequency, std::max(kT, n_positions));
      const bool half = terms.rotation->layout == Rotation::Layout::kHalf;
      plain.rotation =
          table.View(half ? RotationTable::Layout::kHalf : RotationTable::Layout::kInterleaved,
                     2 * static_cast<std::int64_t>(terms.rotation->frequency.size()));
      if (position_ids.defined()) {
        plain.rotation->row = {position_ids.const_data_ptr<std::int32_t>(),
                               static_cast<std::size_t>(position_ids.numel())};
      }
    }
    gradient = ReferenceAttentionBackward(input, plain, View(o_gradient));
    return ReferenceAttentionForward(input, plain);
  }

  AttentionShape shape;
  TermSpec terms;
  at::Tensor q, k, v, x, weight, bias;
  at::Tensor position_ids = {};
  std::int64_t n_positions = 0;
};

// Each sequence at positions of its own, with and without order.
void AddPositionIds(Problem& problem) {
  const at::Tensor t = at::arange(Problem::kT, at::kLong);
  problem.n_positions = 500;
  problem.position_ids =
      at::stack({t + (t >= 60) * 300, (t * 77 + 13).remainder(500)}).to(at::kInt);
}

class AttentionTest : public testing::TestWithParam<Case> {};

TEST_P(AttentionTest, OutputAndGradientsAreThoseOfTheReferenceLoops) {
  Problem problem(GetParam());
  const at::Tensor o_gradient = G({2, 3, 133, 8}, 0.19, 0.4);
  for (at::Tensor* input : {&problem.q, &problem.k, &problem.v}) input->requires_grad_(true);

  const at::Tensor o = problem.Run(AttentionBackend::kReference, "fp64");
  o.backward(o_gradient);
  AttentionGradient expected;
  AttentionOutput output = problem.Reference(o_gradient, expected);

  const at::IntArrayRef shape = o.sizes();
  EXPECT_LT(MaxDifference(o, Tensor(output.o, shape)), 1e-7);  // softplus is cut at 20
  EXPECT_LT(MaxDifference(problem.q.grad(), Tensor(expected.q, shape)), 1e-7);
  EXPECT_LT(MaxDifference(problem.k.grad(), Tensor(expected.k, shape)), 1e-7);
  EXPECT_LT(MaxDifference(problem.v.grad(), Tensor(expected.v, shape)), 1e-7);
}

TEST_P(AttentionTest, PositionsOfEachSequenceAreThoseOfTheReferenceLoops) {
  Problem problem(GetParam());
  if (!problem.terms.rotation) return;
  AddPositionIds(problem);
  const at::Tensor o_gradient = G({2, 3, 133, 8}, 0.19, 0.4);
  AttentionGradient expected;
  AttentionOutput output = problem.Reference(o_gradient, expected);
  struct Way {
    AttentionBackend backend;
    const char* precision;
    double tolerance;
  };
  for (const Way& way : {Way{AttentionBackend::kReference, "fp64", 1e-12},
                         Way{AttentionBackend::kTorch, "fp64", 1e-12},
                         Way{AttentionBackend::kFused, "fp32", 2e-5}}) {
    Problem one(GetParam());
    AddPositionIds(one);
    const at::ScalarType type = OpenCompute("cpu", way.precision).value().dtype;
    for (at::Tensor* input : {&one.q, &one.k, &one.v}) {
      *input = input->to(type).requires_grad_(true);
    }
    const at::Tensor o = one.Run(way.backend, way.precision);
    o.backward(o_gradient.to(type));
    EXPECT_LT(MaxDifference(o, Tensor(output.o, o.sizes())), way.tolerance);
    EXPECT_LT(MaxDifference(one.q.grad(), Tensor(expected.q, o.sizes())), way.tolerance);
    EXPECT_LT(MaxDifference(one.k.grad(), Tensor(expected.k, o.sizes())), way.tolerance);
    EXPECT_LT(MaxDifference(one.v.grad(), Tensor(expected.v, o.sizes())), way.tolerance);
  }
}

TEST_P(AttentionTest, TheBackEndTorchAgreesOrRefuses) {
  const Problem problem(GetParam());
  const Compute compute = OpenCompute("cpu", "fp64").value();
  const Result<Attention> made =
      Attention::Make(problem.terms, "cable", problem.shape, AttentionBackend::kTorch, compute);
  if (problem.terms.key_bias_slope || problem.terms.key_bias_gate) {
    EXPECT_EQ(made.status().code(), Code::kUnimplemented);
    EXPECT_NE(made.status().message().find("\"cable\""), std::string::npos);
    return;
  }
  ASSERT_TRUE(made.ok());
  EXPECT_LT(MaxDifference(problem.Run(AttentionBackend::kTorch, "fp64"),
                          problem.Run(AttentionBackend::kReference, "fp64")),
            1e-12);
}

// In fp32 on the same rounded inputs, beside the plain operators in fp64; gradients of what the
// method learns as well. Those are sums over all positions that nearly cancel, so the plain
// operators' own error in fp32 is the measure where it is the larger one. The bias of a gate has a
// test of its own.
TEST_P(AttentionTest, TheBackEndFusedGivesTheSameOutputAndGradients) {
  struct Way {
    AttentionBackend backend;
    const char* precision;
  };
  std::vector<std::vector<at::Tensor>> found;
  for (const Way& way :
       {Way{AttentionBackend::kReference, "fp64"}, Way{AttentionBackend::kReference, "fp32"},
        Way{AttentionBackend::kFused, "fp32"}}) {
    Problem problem(GetParam());
    const at::ScalarType type = OpenCompute("cpu", way.precision).value().dtype;
    std::vector<at::Tensor> inputs;
    for (at::Tensor* input :
         {&problem.q, &problem.k, &problem.v, &problem.x, &problem.weight, &problem.bias}) {
      *input = input->to(at::kFloat).to(type).requires_grad_(true);
      inputs.push_back(*input);
    }
    if (problem.terms.key_bias_gate) inputs.pop_back();
    const at::Tensor o = problem.Run(way.backend, way.precision);
    o.backward(G({2, 3, 133, 8}, 0.19, 0.4).to(at::kFloat).to(type));
    std::vector<at::Tensor>& results = found.emplace_back();
    results.push_back(o);
    for (const at::Tensor& input : inputs) results.push_back(input.grad());
  }
  for (std::size_t i = 0; i < found[0].size(); ++i) {
    ASSERT_EQ(found[0][i].defined(), found[2][i].defined());
    if (!found[0][i].defined()) continue;
    const double size = std::max(1.0, found[0][i].abs().max().item<double>());
    const double plain = MaxDifference(found[1][i], found[0][i]);
    const double fused = MaxDifference(found[2][i], found[0][i]);
    EXPECT_LT(fused, std::max(2e-5 * size, 2 * plain)) << "tensor " << i << ", plain " << plain;
  }
}

// dL/d bias of a gate by plain operators, in the steps of a fused backward pass
// (FlashAttention-2, algorithm 2): ds_ij = p_ij (dp_ij - <do_i, o_i>). Autograd's softmax takes
// sum_j p_ij dp_ij instead, from the same rounded dp_ij, so that their errors cancel.
at::Tensor GateBiasGradient(const Problem& problem, const at::Tensor& o_gradient,
                            at::ScalarType type) {
  const auto cast = [&](const at::Tensor& t) { return t.to(at::kFloat).to(type); };
  const at::Tensor q = cast(problem.q), k = cast(problem.k), v = cast(problem.v);
  const at::Tensor a_BTH = cast(problem.x).matmul(cast(problem.weight).t()) + cast(problem.bias);
  const at::Tensor b_BHT = at::softplus(a_BTH).cumsum(1).permute({0, 2, 1});
  const bool two_sided = problem.terms.key_bias_gate->two_sided;
  at::Tensor s_BHTT = q.matmul(k.transpose(2, 3)) * problem.terms.scale;
  const at::Tensor later =
      at::arange(Problem::kT).unsqueeze(0) > at::arange(Problem::kT).unsqueeze(1);
  s_BHTT = two_sided ? s_BHTT - (b_BHT.unsqueeze(3) - b_BHT.unsqueeze(2)).abs()
                     : (s_BHTT + b_BHT.unsqueeze(2))
                           .masked_fill(later, -std::numeric_limits<double>::infinity());
  const at::Tensor p_BHTT = s_BHTT.softmax(-1);
  const at::Tensor do_BHTD = cast(o_gradient);
  const at::Tensor delta_BHT1 = (do_BHTD * p_BHTT.matmul(v)).sum(-1, true);
  const at::Tensor ds_BHTT = p_BHTT * (do_BHTD.matmul(v.transpose(2, 3)) - delta_BHT1);
  at::Tensor db_BHT = ds_BHTT.sum(2);
  if (two_sided) {
    // -|b_i - b_j|: d/db_i is -1 and d/db_j is 1 to the left of i, the opposite to its right.
    const at::Tensor signed_BHTT = ds_BHTT * (1 - 2 * later.to(type));
    db_BHT = signed_BHTT.sum(2) - signed_BHTT.sum(3);
  }
  const at::Tensor da_BHT = db_BHT.flip(-1).cumsum(-1).flip(-1);
  return (a_BTH.sigmoid() * da_BHT.permute({0, 2, 1})).sum(at::IntArrayRef{0, 1});
}

// What one gradient shows is chance, so the measure is the root mean square over several, which
// round differently.
TEST_P(AttentionTest, TheBiasOfAGateErrsAsTheStepsOfAFusedPassDo) {
  if (!Problem(GetParam()).terms.key_bias_gate) return;
  double fused = 0.0, steps = 0.0;
  for (const double times : {1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0}) {
    const at::Tensor o_gradient = G({2, 3, 133, 8}, 0.19, 0.4) * times;
    const auto run = [&](AttentionBackend backend, const char* precision) {
      Problem problem(GetParam());
      const at::ScalarType type = OpenCompute("cpu", precision).value().dtype;
      for (at::Tensor* input :
           {&problem.q, &problem.k, &problem.v, &problem.x, &problem.weight, &problem.bias}) {
        *input = input->to(at::kFloat).to(type);
      }
      problem.bias.requires_grad_(true);
      problem.Run(backend, precision).backward(o_gradient.to(at::kFloat).to(type));
      return problem.bias.grad();
    };
    const at::Tensor exact = run(AttentionBackend::kReference, "fp64");
    const Problem problem(GetParam());
    EXPECT_LT(MaxDifference(GateBiasGradient(problem, o_gradient, at::kDouble), exact), 1e-10);
    const auto square = [&](const at::Tensor& found) {
      return ((found.to(at::kDouble) - exact) / times).square().sum().item<double>();
    };
    fused += square(run(AttentionBackend::kFused, "fp32"));
    steps += square(GateBiasGradient(problem, o_gradient, at::kFloat));
  }
  EXPECT_LT(std::sqrt(fused), 2 * std::sqrt(steps));
}

INSTANTIATE_TEST_SUITE_P(Terms, AttentionTest, testing::ValuesIn(kCases),
                         [](const auto& given) { return std::string(given.param.name); });

// ---- grouped heads, and a window ---------------------------------------------------------------

// Six query heads read two key heads, three each: the reference loops read them by index.
TEST(GroupedHeadsTest, OutputAndGradientsAreThoseOfTheReferenceLoops) {
  constexpr std::int64_t kB = 2, kH = 6, kG = 2, kT = 133, kD = 4;
  const AttentionShape shape = {.n_head = kH, .head_dim = kD, .d_model = kH * kD, .n_kv_head = kG};
  const TermSpec terms = FindPositionMethod("none").value()->terms(Json::object(), shape).value();
  at::Tensor q = G({kB, kH, kT, kD}, 0.37, 0.11), k = G({kB, kG, kT, kD}, 0.53, 0.29);
  at::Tensor v = G({kB, kG, kT, kD}, 0.71, 0.05);
  const at::Tensor o_gradient = G({kB, kH, kT, kD}, 0.19, 0.4);
  const AttentionInput input = {
      .size =
          {.batch = kB, .n_head = kH, .n_kv_head = kG, .n_query = kT, .n_key = kT, .head_dim = kD},
      .q = View(q),
      .k = View(k),
      .v = View(v)};
  AttentionOutput output = ReferenceAttentionForward(input, {.scale = terms.scale});
  AttentionGradient expected =
      ReferenceAttentionBackward(input, {.scale = terms.scale}, View(o_gradient));
  for (const AttentionBackend backend : {AttentionBackend::kReference, AttentionBackend::kTorch}) {
    at::Tensor inputs[] = {q.clone(), k.clone(), v.clone()};
    for (at::Tensor& tensor : inputs) tensor.requires_grad_(true);
    Attention attention =
        Attention::Make(terms, "none", shape, backend, OpenCompute("cpu", "fp64").value()).value();
    const at::Tensor o = attention.Forward({.q_BHTD = inputs[0],
                                            .k_BHTD = inputs[1],
                                            .v_BHTD = inputs[2],
                                            .x_BTC = {},
                                            .learned = {},
                                            .scale = terms.scale});
    o.backward(o_gradient);
    EXPECT_LT(MaxDifference(o, Tensor(output.o, o.sizes())), 1e-12);
    EXPECT_LT(MaxDifference(inputs[0].grad(), Tensor(expected.q, q.sizes())), 1e-12);
    EXPECT_LT(MaxDifference(inputs[1].grad(), Tensor(expected.k, k.sizes())), 1e-12);
    EXPECT_LT(MaxDifference(inputs[2].grad(), Tensor(expected.v, v.sizes())), 1e-12);
  }
}

// A window of w is what a dense softmax gives whose scores with i - j >= w are -inf; three blocks
// of queries, a window shorter and one longer than a block, with each kind of bias.
TEST(WindowTest, OutputIsThatOfADenseMaskedSoftmax) {
  constexpr std::int64_t kH = 3, kT = 300, kD = 4;
  const at::Tensor q = G({1, kH, kT, kD}, 0.37, 0.11), k = G({1, kH, kT, kD}, 0.53, 0.29);
  const at::Tensor v = G({1, kH, kT, kD}, 0.71, 0.05), x = G({1, kT, kD}, 0.23, 0.17);
  const at::Tensor weight = G({kH, kD}, 0.41, 0.31) * 0.1, bias = G({kH}, 0.9, 0.2) * 0.1;
  const at::Tensor position = at::arange(kT, at::kDouble);
  const at::Tensor behind = position.unsqueeze(1) - position.unsqueeze(0);  // i - j
  const at::Tensor b_HT = -at::softplus(x.select(0, 0).matmul(weight.t()) + bias).t().cumsum(1);
  for (const std::int64_t window : {1, 5, 200}) {
    const at::Tensor hidden = behind.lt(0).logical_or(behind.ge(window));
    for (const char* method : {"none", "alibi", "cable"}) {
      const AttentionShape shape = {.n_head = kH, .head_dim = kD, .d_model = kD, .window = window};
      const PositionConfig resolved = ResolvePosition(method).value();
      const TermSpec terms =
          FindPositionMethod(method).value()->terms(resolved.params, shape).value();
      Attention attention = Attention::Make(terms, method, shape, AttentionBackend::kReference,
                                            OpenCompute("cpu", "fp64").value())
                                .value();
      at::Tensor scores = q.matmul(k.transpose(2, 3)) * terms.scale;
      if (terms.key_bias_slope) {
        std::vector<double> slopes = terms.key_bias_slope->slope;
        scores = scores - Tensor(slopes, {kH, 1, 1}) * behind;
      }
      if (terms.key_bias_gate) scores = scores + b_HT.unsqueeze(2) - b_HT.unsqueeze(1);
      const at::Tensor expected =
          scores.masked_fill(hidden, -std::numeric_limits<double>::infinity())
              .softmax(-1)
              .matmul(v);
      const at::Tensor o = attention.Forward({.q_BHTD = q,
                                              .k_BHTD = k,
                                              .v_BHTD = v,
                                              .x_BTC = x,
                                              .learned = {weight, bias},
                                              .scale = terms.scale});
      EXPECT_LT(MaxDifference(o, expected), 1e-7) << method << ", window " << window;
    }
  }
}

// Tables by distance, a window, grouped heads: what the cases above do not have.
TEST(FusedTest, DistanceBiasesAndWindowsGiveTheSameOutputAndGradients) {
  constexpr std::int64_t kH = 4, kG = 2, kT = 150, kD = 8;
  for (const char* method : {"t5", "kerple", "xpos", "fire"}) {
    const AttentionShape shape = {
        .n_head = kH, .head_dim = kD, .d_model = kH * kD, .n_kv_head = kG, .window = 90};
    const PositionConfig position = ResolvePosition(method).value();
    const TermSpec terms =
        FindPositionMethod(method).value()->terms(position.params, shape).value();
    std::vector<at::Tensor> found[2];
    for (const AttentionBackend backend :
         {AttentionBackend::kReference, AttentionBackend::kFused}) {
      std::vector<at::Tensor> inputs = {G({2, kH, kT, kD}, 0.37, 0.11),
                                        G({2, kG, kT, kD}, 0.53, 0.29),
                                        G({2, kG, kT, kD}, 0.71, 0.05)};
      for (const LearnedTensor& learned : terms.learned) {
        inputs.push_back(G(learned.shape, 0.8, 0.3) * 0.4 + 0.6);
      }
      for (at::Tensor& input : inputs) input = input.to(at::kFloat).requires_grad_(true);
      Attention attention =
          Attention::Make(terms, method, shape, backend, OpenCompute("cpu", "fp32").value())
              .value();
      const at::Tensor o = attention.Forward({.q_BHTD = inputs[0],
                                              .k_BHTD = inputs[1],
                                              .v_BHTD = inputs[2],
                                              .x_BTC = {},
                                              .learned = {inputs.begin() + 3, inputs.end()},
                                              .scale = terms.scale});
      o.backward(G({2, kH, kT, kD}, 0.19, 0.4).to(at::kFloat));
      std::vector<at::Tensor>& results = found[backend == AttentionBackend::kFused ? 1 : 0];
      results.push_back(o);
      for (const at::Tensor& input : inputs) results.push_back(input.grad());
    }
    for (std::size_t i = 0; i < found[0].size(); ++i) {
      const double size = std::max(1.0, found[0][i].abs().max().item<double>());
      EXPECT_LT(MaxDifference(found[0][i], found[1][i]), 2e-5 * size) << method << ", tensor " << i;
    }
  }
}

// FIRE's network as pieces: units that begin and that end within the distances read, some that
// never bend, and one of weight 0; rows before and behind lambda L = 40, where the normaliser
// changes, and the one that stands there, whose gradient is half of each. Beside the plain
// operators in fp64, as above.
TEST(FusedTest, ANetworkOverDistancesGivesTheSameOutputAndGradients) {
  constexpr std::int64_t kH = 3, kT = 150, kD = 8;
  const PositionConfig position =
      ResolvePosition({{"method", "fire"}, {"width", 9}, {"init_length", 40}}).value();
  for (const bool causal : {true, false}) {
    const AttentionShape shape = {
        .n_head = kH, .head_dim = kD, .d_model = kH * kD, .causal = causal};
    const TermSpec terms =
        FindPositionMethod("fire").value()->terms(position.params, shape).value();
    const at::Tensor w1 = at::tensor({1.0, 0.7, -0.9, -0.4, 0.8, -0.5, 0.0, 0.0, 0.3}, at::kDouble);
    const at::Tensor b1 =
        at::tensor({-0.31, -0.5, 0.6, 0.11, 0.2, -0.3, 0.4, -0.4, -0.9}, at::kDouble);
    const at::Tensor learned[] = {w1.unsqueeze(1),
                                  b1,
                                  G({kH, 9}, 0.8, 0.3) * 3.0,
                                  G({kH}, 0.6, 0.1),
                                  at::tensor({0.3}, at::kDouble),
                                  at::tensor({1.0}, at::kDouble)};
    std::vector<std::vector<at::Tensor>> found;
    for (const auto& [backend, precision] : {std::pair(AttentionBackend::kReference, "fp64"),
                                             std::pair(AttentionBackend::kReference, "fp32"),
                                             std::pair(AttentionBackend::kFused, "fp32")}) {
      const Compute compute = OpenCompute("cpu", precision).value();
      std::vector<at::Tensor> inputs = {G({2, kH, kT, kD}, 0.37, 0.11),
                                        G({2, kH, kT, kD}, 0.53, 0.29),
                                        G({2, kH, kT, kD}, 0.71, 0.05)};
      inputs.insert(inputs.end(), std::begin(learned), std::end(learned));
      for (at::Tensor& input : inputs) {
        input = input.to(at::kFloat).to(compute.dtype).requires_grad_(true);
      }
      Attention attention = Attention::Make(terms, "fire", shape, backend, compute).value();
      const at::Tensor o = attention.Forward({.q_BHTD = inputs[0],
                                              .k_BHTD = inputs[1],
                                              .v_BHTD = inputs[2],
                                              .x_BTC = {},
                                              .learned = {inputs.begin() + 3, inputs.end()},
                                              .scale = terms.scale});
      o.backward(G({2, kH, kT, kD}, 0.19, 0.4).to(at::kFloat).to(compute.dtype));
      std::vector<at::Tensor>& results = found.emplace_back();
      results.push_back(o);
      for (const at::Tensor& input : inputs) results.push_back(input.grad());
    }
    for (std::size_t i = 0; i < found[0].size(); ++i) {
      const double size = std::max(1.0, found[0][i].abs().max().item<double>());
      const double plain = MaxDifference(found[1][i], found[0][i]);
      EXPECT_LT(MaxDifference(found[2][i], found[0][i]), std::max(2e-5 * size, 2 * plain))
          << (causal ? "causal" : "both sides") << ", tensor " << i << " of size " << size
          << ", plain " << plain;
    }
    EXPECT_GT(found[0].back().abs().item<double>(), 1e-3);  // lambda has a gradient at all
  }
}

// The last 32 tokens behind a cache that has forgotten keys, beside the plain operators in fp64 on
// the whole text. FIRE's normaliser counts a query's position from the start of the text, not from
// the first key that is left. The network is steep, so that another normaliser moves the output by
// far more than fp32 rounds.
TEST(FusedTest, ANetworkOverDistancesCountsPositionsThatACacheForgot) {
  constexpr std::int64_t kH = 3, kT = 800, kNew = 32, kD = 8;
  const PositionConfig position =
      ResolvePosition({{"method", "fire"}, {"width", 9}, {"init_length", 40}}).value();
  const AttentionShape shape = {.n_head = kH, .head_dim = kD, .d_model = kH * kD, .window = 50};
  const TermSpec terms = FindPositionMethod("fire").value()->terms(position.params, shape).value();
  const std::vector<at::Tensor> inputs = {G({1, kH, kT, kD}, 0.37, 0.11),
                                          G({1, kH, kT, kD}, 0.53, 0.29),
                                          G({1, kH, kT, kD}, 0.71, 0.05),
                                          G({9, 1}, 0.8, 0.3),
                                          G({9}, 0.5, 0.7),
                                          G({kH, 9}, 0.8, 0.3) * 8.0,
                                          G({kH}, 0.6, 0.1),
                                          at::tensor({0.3}, at::kDouble),
                                          at::tensor({1.0}, at::kDouble)};
  const auto last = [&](const char* precision, AttentionBackend backend, bool from_cache) {
    const Compute compute = OpenCompute("cpu", precision).value();
    std::vector<at::Tensor> x;
    for (const at::Tensor& input : inputs) x.push_back(input.to(at::kFloat).to(compute.dtype));
    Attention attention = Attention::Make(terms, "fire", shape, backend, compute).value();
    const auto part = [&](std::int64_t begin, std::int64_t n) {
      return Attention::Call{.q_BHTD = x[0].narrow(2, begin, n),
                             .k_BHTD = x[1].narrow(2, begin, n),
                             .v_BHTD = x[2].narrow(2, begin, n),
                             .x_BTC = {},
                             .learned = {x.begin() + 3, x.end()},
                             .scale = terms.scale};
    };
    if (!from_cache) return attention.Forward(part(0, kT)).narrow(2, kT - kNew, kNew);
    AttentionCache cache = attention.MakeCache(1, kT, nullptr);
    attention.ForwardBehind(part(0, kT - kNew), cache);
    EXPECT_GT(cache.held.n_forgotten, 500);
    return attention.ForwardBehind(part(kT - kNew, kNew), cache);
  };
  const at::NoGradGuard no_grad;
  const at::Tensor expected = last("fp64", AttentionBackend::kReference, false);
  EXPECT_LT(MaxDifference(last("fp64", AttentionBackend::kReference, true), expected), 1e-12);
  EXPECT_LT(MaxDifference(last("fp32", AttentionBackend::kFused, true), expected), 2e-5);
}

// Keys far behind a linear bias hold less than fp32's rounding of a row: no evaluation reads them.
TEST(FusedTest, WhereNothingIsTrainedFarKeysAreNotVisited) {
  const Result<const AttentionKernel*> kernel = KernelFor(Compute());
  ASSERT_TRUE(kernel.ok());
  constexpr std::int64_t kLength = 1024, kFar = 512;
  const auto draw = [](double a) { return G({1, 2, kLength, 16}, a, 0.2).to(at::kFloat); };
  const at::Tensor q = draw(0.37), k = draw(0.53), v = draw(0.71);
  q.requires_grad_(true);
  const at::Tensor slope = at::tensor({0.5, 0.25}, at::kDouble);
  const auto attend = [&](const at::Tensor& keys, const at::Tensor& values) {
    return KernelAttention({.kernel = *kernel,
                            .q_BHTD = q,
                            .k_BHTD = keys,
                            .v_BHTD = values,
                            .scale = 0.25,
                            .slope_H = slope})
        .detach()
        .slice(2, kFar);
  };
  const auto poisoned = [](const at::Tensor& x) {
    at::Tensor y = x.clone();
    y.slice(2, 0, 32).fill_(std::numeric_limits<double>::quiet_NaN());
    return y;
  };
  const at::Tensor whole = attend(k, v);
  EXPECT_TRUE(attend(k, poisoned(v)).isnan().all().item<bool>());
  const at::NoGradGuard no_grad;
  EXPECT_LT(MaxDifference(attend(k, poisoned(v)), whole), 2e-7);
  // Of a key that is no number nothing is proved: a model that broke down is not scored as
  // one that did not.
  EXPECT_TRUE(attend(poisoned(k), v).isnan().all().item<bool>());
}

// ---- keys that training skips ------------------------------------------------------------------

constexpr std::int64_t kSkipHeads = 2, kSkipLength = 700, kSkipWidth = 16;
constexpr double kSkipScale = 0.25;

// The first keys that the calls of kSeenKernel wrote and got.
std::vector<std::int32_t>& OfForward() {
  static std::vector<std::int32_t> first_keys;
  return first_keys;
}
std::vector<std::int32_t>& OfBackward() {
  static std::vector<std::int32_t> first_keys;
  return first_keys;
}

const AttentionKernel kSeenKernel = {
    .name = "seen",
    .forward =
        [](const AttentionForwardCall& call, const AttentionTerms& terms,
           const AttentionKernelOptions& options) {
          const Status status = KernelFor(Compute()).value()->forward(call, terms, options);
          OfForward().assign(call.first_key.begin(), call.first_key.end());
          return status;
        },
    .backward =
        [](const AttentionBackwardCall& call, const AttentionTerms& terms,
           const AttentionKernelOptions& options) {
          OfBackward().assign(call.first_key.begin(), call.first_key.end());
          return KernelFor(Compute()).value()->backward(call, terms, options);
        }};

// A causal call of one sequence, whose bias falls by about 0.3 for each token of distance.
struct SkipProblem {
  explicit SkipProblem(const std::string& term) {
    const auto draw = [](double a, double b) {
      return G({1, kSkipHeads, kSkipLength, kSkipWidth}, a, b).to(at::kFloat);
    };
    q = draw(0.37, 0.2), k = draw(0.53, 0.2), v = draw(0.71, 0.2), o_gradient = draw(0.19, 0.4);
    if (term == "slope" || term == "two-sided slope") {
      slope_H = at::tensor({0.5, 0.25}, at::kDouble);
    } else if (term == "key bias") {
      bias = (G({1, kSkipHeads, kSkipLength}, 0.31, 0.7).abs() * 0.5).cumsum(2);
    } else if (term == "table") {
      is_table = true;
      bias = (G({kSkipHeads, kSkipLength}, 0.31, 0.7).abs() * -0.5).cumsum(1);
    }
    is_two_sided = term == "two-sided slope";
  }

  // The output, then the gradients of q, k, v and of the bias, if it has one.
  std::vector<at::Tensor> Fused(double skip_epsilon) const {
    std::vector<at::Tensor> inputs = {q.clone(), k.clone(), v.clone()};
    if (bias.defined()) inputs.push_back(bias.clone());
    for (at::Tensor& input : inputs) input.requires_grad_(true);
    KernelAttentionCall call = {.kernel = &kSeenKernel,
                                .q_BHTD = inputs[0],
                                .k_BHTD = inputs[1],
                                .v_BHTD = inputs[2],
                                .scale = kSkipScale,
                                .slope_H = is_two_sided ? -slope_H : slope_H,
                                .two_sided = is_two_sided,
                                .skip_epsilon = skip_epsilon};
    if (bias.defined()) (is_table ? call.distances_HN : call.key_bias_BHT) = inputs[3];
    const at::Tensor o = KernelAttention(call);
    o.backward(o_gradient);
    std::vector<at::Tensor> results = {o.detach()};
    for (const at::Tensor& input : inputs) results.push_back(input.grad());
    return results;
  }

  // The same in fp64, by plain operators over the visible keys, (H, T, T).
  std::vector<at::Tensor> Plain(const at::Tensor& visible_HTT) const {
    std::vector<at::Tensor> inputs = {q.to(at::kDouble), k.to(at::kDouble), v.to(at::kDouble)};
    if (bias.defined()) inputs.push_back(bias.clone());
    for (at::Tensor& input : inputs) input.requires_grad_(true);
    const at::Tensor o = Weights(inputs, visible_HTT).matmul(inputs[2]);
    o.backward(o_gradient.to(at::kDouble));
    std::vector<at::Tensor> results = {o.detach()};
    for (const at::Tensor& input : inputs) results.push_back(input.grad());
    return results;
  }

  // The largest share of a row that keys hold which are not visible, though they are not ahead.
  double LargestShareOutside(const at::Tensor& visible_HTT) const {
    std::vector<at::Tensor> inputs = {q.to(at::kDouble), k.to(at::kDouble)};
    if (bias.defined()) inputs = {inputs[0], inputs[1], {}, bias};
    const at::Tensor p = Weights(inputs, Visible({}));
    return p.masked_fill(visible_HTT, 0.0).sum(3).max().item<double>();
  }

  at::Tensor Weights(const std::vector<at::Tensor>& inputs, const at::Tensor& visible_HTT) const {
    at::Tensor scores = inputs[0].matmul(inputs[1].transpose(2, 3)) * kSkipScale;
    const at::Tensor at = at::arange(kSkipLength, at::kLong);
    if (slope_H.defined()) scores = scores + slope_H.view({-1, 1, 1}) * at;
    if (bias.defined() && !is_table) scores = scores + inputs[3].unsqueeze(2);
    if (is_table) {
      const at::Tensor distance = (at.unsqueeze(1) - at.unsqueeze(0)).clamp_min(0);
      scores = scores + inputs[3]
                            .index_select(1, distance.flatten())
                            .view({kSkipHeads, kSkipLength, kSkipLength});
    }
    return scores.masked_fill(visible_HTT.logical_not(), -std::numeric_limits<double>::infinity())
        .softmax(-1);
  }

  // Of the keys up to each query those from its first key on; without first keys, all.
  static at::Tensor Visible(std::vector<std::int32_t> first_keys) {
    const at::Tensor at = at::arange(kSkipLength, at::kLong);
    const at::Tensor seen_HTT =
        at.unsqueeze(0).le(at.unsqueeze(1)).expand({kSkipHeads, kSkipLength, kSkipLength});
    if (first_keys.empty()) return seen_HTT;
    const at::Tensor of_blocks =
        at::from_blob(first_keys.data(), {kSkipHeads, VisitedKeys::Count(kSkipLength)}, at::kInt);
    const at::Tensor first_HT =
        of_blocks.repeat_interleave(VisitedKeys::kQueries, 1).narrow(1, 0, kSkipLength);
    return seen_HTT.logical_and(at.ge(first_HT.unsqueeze(2)));
  }

  at::Tensor q, k, v, o_gradient, slope_H, bias;
  bool is_table = false, is_two_sided = false;
};

std::int64_t Pairs(const at::Tensor& visible_HTT) { return visible_HTT.sum().item<std::int64_t>(); }

// As in the tests of other terms: fp32 beside fp64.
void ExpectNear(const std::vector<at::Tensor>& found, const std::vector<at::Tensor>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double size = std::max(1.0, expected[i].abs().max().item<double>());
    EXPECT_LT(MaxDifference(found[i], expected[i]), 2e-5 * size) << "tensor " << i;
  }
}

// The bound is so large that the gradients of all keys are others.
TEST(SkippingTest, GradientsAreThoseOfTheKeysThatForwardVisited) {
  constexpr double kEpsilon = 1e-3;
  for (const char* term : {"slope", "key bias", "table"}) {
    SCOPED_TRACE(term);
    const SkipProblem problem(term);
    const std::vector<at::Tensor> found = problem.Fused(kEpsilon);
    EXPECT_EQ(OfBackward(), OfForward());
    const at::Tensor visited = SkipProblem::Visible(OfForward()), all = SkipProblem::Visible({});
    EXPECT_LT(2 * Pairs(visited), Pairs(all));
    ExpectNear(found, problem.Plain(visited));

    const double share = problem.LargestShareOutside(visited);
    EXPECT_GT(share, 0.0);
    EXPECT_LE(share, kEpsilon);
    // Rounding of fp32 comes on top.
    const double v_max = problem.v.abs().max().item<double>();
    EXPECT_LT(MaxDifference(found[0], problem.Plain(all)[0]), 2 * kEpsilon * v_max + 2e-6);
  }
}

// As evaluations skip: what is left out is less than fp32 rounds, in the gradients too.
TEST(SkippingTest, WithTheBoundOfEvaluationsGradientsAreThoseOfAllKeys) {
  for (const char* term : {"slope", "key bias", "table"}) {
    SCOPED_TRACE(term);
    const SkipProblem problem(term);
    const at::Tensor all = SkipProblem::Visible({});
    ExpectNear(problem.Fused(kInferenceSkipEpsilon), problem.Plain(all));
    EXPECT_LT(Pairs(SkipProblem::Visible(OfForward())), 0.75 * static_cast<double>(Pairs(all)));
  }
}

TEST(SkippingTest, WithoutABoundOrAOneSidedBiasTrainingVisitsAllKeys) {
  SkipProblem("slope").Fused(0.0);
  EXPECT_TRUE(OfForward().empty());
  EXPECT_TRUE(OfBackward().empty());
  const SkipProblem two_sided("two-sided slope");
  const std::vector<at::Tensor> expected = two_sided.Fused(0.0), found = two_sided.Fused(1e-3);
  EXPECT_EQ(OfForward(), std::vector<std::int32_t>(OfForward().size(), 0));
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_TRUE(at::equal(found[i], expected[i])) << i;
}

TEST(SkippingTest, WithoutGradientsTheBoundOfTrainingIsNotRead) {
  const SkipProblem problem("slope");
  const auto attend = [&](double skip_epsilon) {
    return KernelAttention({.kernel = &kSeenKernel,
                            .q_BHTD = problem.q,
                            .k_BHTD = problem.k,
                            .v_BHTD = problem.v,
                            .scale = kSkipScale,
                            .slope_H = problem.slope_H,
                            .skip_epsilon = skip_epsilon});
  };
  attend(1e-3);
  const std::vector<std::int32_t> of_training = OfForward();
  const at::NoGradGuard no_grad;
  const at::Tensor expected = attend(0.0);
  const std::vector<std::int32_t> first_keys = OfForward();
  EXPECT_TRUE(at::equal(attend(1e-3), expected));
  EXPECT_EQ(OfForward(), first_keys);
  EXPECT_NE(of_training, first_keys);
}

TEST(FusedTest, WhatItLacksIsRefusedByName) {
  const AttentionShape shape = {.n_head = 2, .head_dim = 8, .d_model = 16};
  const auto refusal = [](const char* method, const AttentionShape& of, const char* precision) {
    const PositionConfig position = ResolvePosition(method).value();
    const TermSpec terms = FindPositionMethod(method).value()->terms(position.params, of).value();
    const Status status = Attention::Make(terms, method, of, AttentionBackend::kFused,
                                          OpenCompute("cpu", precision).value())
                              .status();
    EXPECT_EQ(status.code(), Code::kUnimplemented);
    return status.message();
  };
  EXPECT_NE(refusal("cope", shape, "fp32").find("\"cope\""), std::string::npos);
  EXPECT_NE(refusal("none", shape, "fp64").find("fp32, bf16 and fp16"), std::string::npos);
  const AttentionShape odd = {.n_head = 2, .head_dim = 12, .d_model = 24};
  EXPECT_NE(refusal("none", odd, "fp32").find("the model's have 12"), std::string::npos);
}

TEST(WindowTest, TheBackEndTorchRefusesIt) {
  const AttentionShape shape = {.n_head = 2, .head_dim = 4, .d_model = 8, .window = 7};
  const Status status = Attention::Make({.scale = 0.5}, "none", shape, AttentionBackend::kTorch,
                                        OpenCompute("cpu", "fp32").value())
                            .status();
  EXPECT_EQ(status.code(), Code::kUnimplemented);
  EXPECT_NE(status.message().find("window, but the model's is 7 tokens"), std::string::npos);
}

// b falls by about 0.7 a step: at T = 8192 it is -5700, where an fp32 has a spacing of 5e-4. The
// bias is taken relative to its block, so fp32 stays within 2e-5.
TEST(AttentionLongTest, AnFp32BiasHoldsAt8192Positions) {
  const at::NoGradGuard no_grad;
  constexpr std::int64_t kLength = 8192, kHead = 1, kDim = 4;
  for (const char* method : {"cable", "alibi"}) {
    const PositionConfig position = ResolvePosition(method).value();
    const AttentionShape shape = {.n_head = kHead, .head_dim = kDim, .d_model = kDim};
    const TermSpec terms =
        FindPositionMethod(method).value()->terms(position.params, shape).value();
    at::Tensor result[2];
    for (const bool exact : {false, true}) {
      const Compute compute = OpenCompute("cpu", exact ? "fp64" : "fp32").value();
      Attention attention =
          Attention::Make(terms, method, shape, AttentionBackend::kReference, compute).value();
      const auto make = [&](std::vector<std::int64_t> size, double a, double b) {
        // The same numbers in both: rounded to fp32 first.
        return G(size, a, b).to(at::kFloat).to(compute.dtype);
      };
      result[exact ? 1 : 0] =
          attention.Forward({.q_BHTD = make({1, kHead, kLength, kDim}, 0.37, 0.11),
                             .k_BHTD = make({1, kHead, kLength, kDim}, 0.53, 0.29),
                             .v_BHTD = make({1, kHead, kLength, kDim}, 0.71, 0.05),
                             .x_BTC = make({1, kLength, kDim}, 0.23, 0.17),
                             .learned = {make({kHead, kDim}, 0.41, 0.31), make({kHead}, 0.9, 0.2)},
                             .scale = terms.scale});
    }
    EXPECT_LT(MaxDifference(result[0], result[1]), 2e-5) << method;
  }
}

}  // namespace
}  // namespace longrun
