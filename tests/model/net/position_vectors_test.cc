// What position methods add to attention, against numbers that an fp64 numpy script of the
// published formulas gave (T5: also transformers' modeling_t5.py; KERPLE: the official repository;
// FIRE and CoPE: the listings of their papers; xPos: torchscale), and against central differences.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/max.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/triu.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include "base/files.h"
#include "model/net/attention.h"
#include "model/net/terms/term.h"

namespace longrun {

const PositionMethod&
RootMethod();  // tests/model/position/root.cc, the template of the documentation

namespace {

// Element n of G(shape, a, b) is sin(a n + b).
at::Tensor G(const std::vector<std::int64_t>& shape, double a, double b) {
  std::int64_t n = 1;
  for (const std::int64_t size : shape) n *= size;
  return at::sin(at::arange(n, at::kDouble) * a + b).view(shape);
}

// The sum of x[n] cos(0.05 n + 0.3).
at::Tensor Digest(const at::Tensor& x) {
  const at::Tensor weight = at::cos(at::arange(x.numel(), at::kDouble) * 0.05 + 0.3);
  return (x.reshape({-1}) * weight).sum();
}

std::vector<double> Numbers(const at::Tensor& x) {
  const at::Tensor flat = x.detach().to(at::kDouble).contiguous();
  return {flat.const_data_ptr<double>(), flat.const_data_ptr<double>() + flat.numel()};
}

void ExpectNear(const at::Tensor& found, const std::vector<double>& expected, double bound = 1e-6) {
  const std::vector<double> numbers = Numbers(found);
  ASSERT_EQ(numbers.size(), expected.size());
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    EXPECT_NEAR(numbers[i], expected[i], bound) << "element " << i;
  }
}

TermSpec Terms(const Json& position, const AttentionShape& shape) {
  const PositionConfig config = ResolvePosition(position).value();
  return FindPositionMethod(config.method).value()->terms(config.params, shape).value();
}

std::string Refusal(const Json& position, const AttentionShape& shape) {
  const PositionConfig config = ResolvePosition(position).value();
  return FindPositionMethod(config.method)
      .value()
      ->terms(config.params, shape)
      .status("position")
      .message();
}

// FX(H, T, d) through a method's attention in fp64, one sequence.
struct Problem {
  Problem(const Json& position, std::vector<at::Tensor> the_learned, bool causal = true,
          std::int64_t n_head = 2, std::int64_t n = 6, std::int64_t d = 8)
      : shape{.n_head = n_head, .head_dim = d, .d_model = n_head * d, .causal = causal},
        terms(Terms(position, shape)),
        q(G({1, n_head, n, d}, 0.37, 0.11)),
        k(G({1, n_head, n, d}, 0.53, 0.29)),
        v(G({1, n_head, n, d}, 0.71, 0.05)),
        x(G({1, n, n_head * d}, 0.23, 0.17)),
        learned(std::move(the_learned)) {}

  at::Tensor Output() const {
    Attention attention = Attention::Make(terms, "the test's", shape, AttentionBackend::kReference,
                                          OpenCompute("cpu", "fp64").value())
                              .value();
    return attention.Forward({.q_BHTD = q,
                              .k_BHTD = k,
                              .v_BHTD = v,
                              .x_BTC = x,
                              .learned = learned,
                              .scale = terms.scale});
  }
  void ExpectDigest(double digest, const std::vector<double>& last = {}) const {
    const at::Tensor o = Output();
    EXPECT_NEAR(Digest(o).item<double>(), digest, 1e-6);
    if (!last.empty()) ExpectNear(o.select(0, 0).select(0, 1).select(0, 5).narrow(0, 0, 4), last);
  }
  // Every input's and every learned tensor's gradient against (f(x + h) - f(x - h)) / 2h.
  void ExpectGradients() {
    std::vector<at::Tensor*> inputs = {&q, &k, &v, &x};
    for (at::Tensor& tensor : learned) inputs.push_back(&tensor);
    for (at::Tensor* input : inputs) input->requires_grad_(true);
    Digest(Output()).backward();
    const at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const at::Tensor gradient = inputs[i]->grad();
      double* value = inputs[i]->data_ptr<double>();
      for (std::int64_t n = 0; n < inputs[i]->numel(); ++n) {
        constexpr double kStep = 1e-5;
        const double kept = value[n];
        value[n] = kept + kStep;
        const double above = Digest(Output()).item<double>();
        value[n] = kept - kStep;
        const double below = Digest(Output()).item<double>();
        value[n] = kept;
        const double found =
            gradient.defined() ? gradient.reshape({-1}).select(0, n).item<double>() : 0.0;
        EXPECT_NEAR(found, (above - below) / (2 * kStep), 1e-7)
            << "input " << i << " element " << n;
      }
    }
  }

  AttentionShape shape;
  TermSpec terms;
  at::Tensor q, k, v, x;
  std::vector<at::Tensor> learned;
};

// What the only term of `only` adds to these scores, (B, H, T, T). No key is hidden.
at::Tensor Added(const TermSpec& only, const std::vector<at::Tensor>& learned, const at::Tensor& q,
                 const at::Tensor& scores) {
  const std::int64_t n = scores.size(2);
  const AttentionShape shape = {.n_head = scores.size(1), .causal = false};
  const auto terms = MakeTerms(only, shape, OpenCompute("cpu", "fp64").value());
  LR_CHECK(terms.size() == 1);
  ScoreBlock block = {.scores_BHQK = scores.clone(), .q_BHQD = q, .n_whole = n, .n_positions = n};
  terms[0]->AddTo(terms[0]->Prepare({.x_BTC = {}, .learned = learned, .n_positions = n}), block);
  return block.scores_BHQK - scores;
}

// The bias of head h for the queries and keys 0 .. n - 1: (H, n, n).
at::Tensor Bias(const TermSpec& only, const Problem& problem, std::int64_t n) {
  const at::Tensor scores = at::zeros({1, problem.shape.n_head, n, n}, at::kDouble);
  return Added(only, problem.learned, problem.q, scores).select(0, 0);
}

at::Tensor DistanceMatrix(const Problem& problem, std::int64_t n) {
  return Bias({.distance_bias = problem.terms.distance_bias, .learned = problem.terms.learned},
              problem, n);
}

// ---- T5 -----------------------------------------------------------------------------------------

// The bucket of each distance: what a table that holds its own row numbers gives.
std::vector<double> BucketsOf(const Json& position, bool causal, std::int64_t buckets,
                              std::int64_t begin, std::int64_t n) {
  const AttentionShape shape = {.n_head = 1, .head_dim = 8, .d_model = 8, .causal = causal};
  std::vector<double> table(static_cast<std::size_t>(buckets)), row(static_cast<std::size_t>(n));
  std::iota(table.begin(), table.end(), 0.0);
  Terms(position, shape).distance_bias->forward({table}, begin, row);
  return row;
}

TEST(T5Test, BucketsChangeWhereTransformersChangesThem) {
  // The distances at which bucket 1, 2, ... begins.
  const std::vector<std::int64_t> causal = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,
                                            12, 13, 14, 15, 16, 19, 21, 24, 27, 31, 35,
                                            40, 46, 52, 59, 67, 77, 87, 99, 113};
  const std::vector<std::int64_t> to_a_side = {1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91};
  const auto begins = [](const std::vector<double>& buckets) {
    std::vector<std::int64_t> at;
    for (std::size_t n = 1; n < buckets.size(); ++n) {
      if (buckets[n] != buckets[n - 1]) {
        EXPECT_EQ(buckets[n], buckets[n - 1] + 1);
        at.push_back(static_cast<std::int64_t>(n));
      }
    }
    return at;
  };
  EXPECT_EQ(begins(BucketsOf("t5", true, 32, 0, 4096)), causal);
  EXPECT_EQ(begins(BucketsOf("t5", false, 32, 0, 4096)), to_a_side);
  std::vector<double> ahead = BucketsOf("t5", false, 32, -4095, 4096);  // distance -4095 .. 0
  ahead = {ahead.rbegin(), ahead.rend()};
  EXPECT_EQ(ahead[0], 0);
  ahead[0] = 16;  // at distance 0 a key is not ahead
  EXPECT_EQ(begins(ahead), to_a_side);
}

TEST(T5Test, ASmallSettingMatchesTheVectors) {
  const Json position = {{"method", "t5"}, {"buckets", 8}, {"max_distance", 16}};
  EXPECT_EQ(BucketsOf(position, true, 8, 0, 21),
            (std::vector<double>{0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7}));
  std::vector<double> by_rel = BucketsOf(position, false, 8, -20, 41);  // of i - j
  by_rel = {by_rel.rbegin(), by_rel.rend()};                            // of j - i
  EXPECT_EQ(by_rel,
            (std::vector<double>{3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 2, 2, 2, 2, 1, 0,
                                 5, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7}));
  const at::Tensor table = G({8, 2}, 0.57, 0.4) * 0.3;
  Problem(position, {table})
      .ExpectDigest(2.428691135, {0.56233170, 0.46586681, 0.14425956, -0.24706491});
  Problem(position, {table}, false).ExpectDigest(-0.742942276);
}

TEST(T5Test, GradientsMatchCentralDifferences) {
  for (const bool causal : {true, false}) {
    Problem({{"method", "t5"}, {"buckets", 8}, {"max_distance", 16}}, {G({8, 2}, 0.57, 0.4) * 0.3},
            causal)
        .ExpectGradients();
  }
}

TEST(T5Test, TheTableStartsAsTheScaleAsks) {
  const AttentionShape shape = {.n_head = 2, .head_dim = 8, .d_model = 16};
  const TermSpec gpt = Terms("t5", shape);
  EXPECT_EQ(gpt.scale, 1.0 / std::sqrt(8.0));
  EXPECT_EQ(gpt.learned[0].init.std, 0.02);
  EXPECT_EQ(gpt.learned[0].shape, (std::vector<std::int64_t>{32, 2}));
  EXPECT_TRUE(gpt.share_layers);
  const TermSpec own = Terms({{"method", "t5"}, {"scale", 1}, {"share_layers", false}}, shape);
  EXPECT_EQ(own.scale, 1.0);
  EXPECT_EQ(own.learned[0].init.std, 0.25);  // C^-0.5
  EXPECT_FALSE(own.share_layers);
}

TEST(T5Test, BucketsThatDoNotDivideAreRefused) {
  const AttentionShape causal = {.n_head = 2, .head_dim = 8, .d_model = 16};
  AttentionShape both = causal;
  both.causal = false;
  EXPECT_EQ(Refusal({{"method", "t5"}, {"buckets", 5}}, causal),
            "position.buckets: expected a multiple of 2, found 5");
  EXPECT_EQ(Refusal({{"method", "t5"}, {"buckets", 6}}, both),
            "position.buckets: expected a multiple of 4 (a model without a causal mask has two "
            "sides), found 6");
  EXPECT_EQ(Refusal({{"method", "t5"}, {"max_distance", 16}}, causal),
            "position.max_distance: expected more than 16, the distances that have a bucket of "
            "their own, found 16");
}

// ---- KERPLE -------------------------------------------------------------------------------------

std::vector<at::Tensor> KerpleLearned() {
  return {at::tensor({0.8, 1.7}, at::kDouble), at::tensor({0.3, 0.9}, at::kDouble)};  // p, a
}

TEST(KerpleTest, LogMatchesTheVectors) {
  const Problem problem("kerple", KerpleLearned());
  ExpectNear(DistanceMatrix(problem, 6).select(0, 1).select(0, 5),
             {-2.89807176, -2.59429572, -2.22416579, -1.75035301, -1.09115161, 0.0});
  problem.ExpectDigest(1.783515793);
}

TEST(KerpleTest, PowerMatchesTheVectors) {
  const Problem problem({{"method", "kerple"}, {"variant", "power"}}, KerpleLearned());
  ExpectNear(DistanceMatrix(problem, 6).select(0, 1).select(0, 5),
             {-13.88326191, -9.50045696, -5.82570706, -2.92410863, -0.9, 0.0});
  problem.ExpectDigest(1.587598474);
}

TEST(KerpleTest, GradientsMatchCentralDifferences) {
  for (const char* variant : {"log", "power"}) {
    for (const bool causal : {true, false}) {
      Problem({{"method", "kerple"}, {"variant", variant}}, KerpleLearned(), causal)
          .ExpectGradients();
    }
  }
}

TEST(KerpleTest, StartsAndBoundsAreTheOfficialCodes) {
  const AttentionShape shape = {.n_head = 2, .head_dim = 8, .d_model = 16};
  const TermSpec log = Terms("kerple", shape);
  EXPECT_EQ(log.learned[0].name, "p");
  EXPECT_EQ(log.learned[0].init.high, 2.0);
  EXPECT_EQ(log.learned[0].min, 0.01);
  EXPECT_FALSE(log.learned[0].max.has_value());
  EXPECT_EQ(log.learned[1].name, "a");
  EXPECT_EQ(log.learned[1].init.high, 1.0);
  EXPECT_FALSE(log.share_layers);
  EXPECT_EQ(Terms({{"method", "kerple"}, {"variant", "power"}}, shape).learned[0].max, 2.0);
}

TEST(KerpleTest, PowerWithSlopesAndExponentOneIsAlibi) {
  const Problem alibi("alibi", {});
  const at::Tensor slopes = at::tensor({0.0625, 0.00390625}, at::kDouble);
  const Problem kerple({{"method", "kerple"}, {"variant", "power"}},
                       {at::tensor({1.0, 1.0}, at::kDouble), slopes});
  ExpectNear(kerple.Output(), Numbers(alibi.Output()), 1e-12);
}

// ---- the template of docs/position-methods.md ---------------------------------------------------

TEST(TemplateTest, DoesWhatThePageSaysWithItsGradient) {
  Problem problem("none", {at::tensor({0.7, 1.3}, at::kDouble)});
  problem.terms = RootMethod().terms(Json::object(), problem.shape).value();
  const at::Tensor row_5 = DistanceMatrix(problem, 6).select(0, 1).select(0, 5);
  ExpectNear(
      row_5,
      {-1.3 * std::sqrt(5.0), -1.3 * 2.0, -1.3 * std::sqrt(3.0), -1.3 * std::sqrt(2.0), -1.3, 0.0},
      1e-12);
  problem.ExpectGradients();
}

TEST(TemplateTest, IsTheCodeOfThePage) {
  const std::string source = LONGRUN_SOURCE_DIR;
  const std::string page = ReadFile(source + "/docs/position-methods.md").value();
  const std::string code = ReadFile(source + "/tests/model/position/root.cc").value();
  EXPECT_NE(page.find("```cpp\n" + code + "```"), std::string::npos);
}

// ---- FIRE ---------------------------------------------------------------------------------------

std::vector<at::Tensor> FireLearned() {
  return {G({4, 1}, 1.3, 0.2),    G({4}, 0.8, 0.7) * 0.5,         G({2, 4}, 0.6, 0.1),
          G({2}, 0.5, 0.5) * 0.1, at::tensor({0.1}, at::kDouble), at::tensor({1.0}, at::kDouble)};
}
const Json kFire = {{"method", "fire"}, {"width", 4}, {"init_length", 4}};

TEST(FireTest, MatchesTheVectors) {
  const Problem problem(kFire, FireLearned());
  const at::Tensor bias =
      Bias({.distance_network = problem.terms.distance_network, .learned = problem.terms.learned},
           problem, 6);
  ExpectNear(bias.select(0, 0).select(0, 5),
             {1.74588281, 1.57824108, 1.39817046, 1.20367938, 0.99225554, 0.78034081});
  ExpectNear(bias.select(0, 1).select(0, 2).narrow(0, 0, 3), {0.09083419, 0.09525991, 0.08106034});
  problem.ExpectDigest(2.886083607);
}

TEST(FireTest, GradientsMatchCentralDifferences) {
  // lambda 1.1: at 1 the normaliser has a kink, where max(i, lambda L) meets row 4.
  for (const bool causal : {true, false}) {
    Problem problem(kFire, FireLearned(), causal);
    problem.learned[5] = at::tensor({1.1}, at::kDouble);
    problem.ExpectGradients();
  }
}

TEST(FireTest, StartsAsTorchsLinearsDo) {
  const TermSpec terms = Terms("fire", {.n_head = 2, .head_dim = 8, .d_model = 16});
  EXPECT_EQ(terms.learned[0].shape, (std::vector<std::int64_t>{32, 1}));
  EXPECT_EQ(terms.learned[0].init.low, -1.0);
  EXPECT_EQ(terms.learned[2].shape, (std::vector<std::int64_t>{2, 32}));
  EXPECT_EQ(terms.learned[2].init.high, 1.0 / std::sqrt(32.0));
  EXPECT_EQ(terms.learned[4].init.mean, 0.1);
  EXPECT_EQ(terms.learned[5].init.mean, 1.0);
  EXPECT_EQ(terms.distance_network->length, 512.0);
}

// ---- xPos ---------------------------------------------------------------------------------------

TEST(XposTest, MatchesTheVectors) {
  Problem("xpos", {}).ExpectDigest(2.512652427, {0.56836645, 0.39931764, 0.03728810, -0.34276190});
}

TEST(XposTest, GradientsMatchCentralDifferences) { Problem("xpos", {}).ExpectGradients(); }

// 0.2857^(60000 / 512) is 1e-64 and 1e64 if it is formed at once; in halves it fits.
TEST(XposTest, FarPositionsStayFinite) {
  const AttentionShape shape = {.n_head = 1, .head_dim = 4, .d_model = 4};
  const TermSpec terms = Terms("xpos", shape);
  ASSERT_TRUE(terms.length_max.has_value());
  EXPECT_NEAR(static_cast<double>(*terms.length_max), 2 * 80 * 512 / std::log(3.5), 1.0);
  const at::NoGradGuard no_grad;
  const double half = 0.5 * static_cast<double>(*terms.length_max);
  EXPECT_LT(std::exp(-terms.rotation->growth[0] * half),
            static_cast<double>(std::numeric_limits<float>::max()) / 1e3);
}

// At the longest text, a key ahead of its query would have e^160 of a score: beyond fp32, and
// hidden. By the paper's formula, in double, with the decay of each visible pair formed
// from its distance.
TEST(XposTest, TheLongestTextIsReadInFp32) {
  constexpr std::int64_t kD = 8;
  const AttentionShape shape = {.n_head = 1, .head_dim = kD, .d_model = kD};
  for (const double scale_base : {1.0, 1.25, 1.5}) {
    const TermSpec terms = Terms({{"method", "xpos"}, {"scale_base", scale_base}}, shape);
    const std::int64_t n = terms.length_max.value();
    const at::Tensor q = G({n, kD}, 0.37, 0.11), k = G({n, kD}, 0.53, 0.29),
                     v = G({n, kD}, 0.71, 0);
    const std::vector<double> qs = Numbers(q), ks = Numbers(k), vs = Numbers(v);
    std::vector<double> expected;
    for (std::int64_t i = 0; i < n; ++i) {
      double total = 0.0;
      std::vector<double> o(kD);
      for (std::int64_t j = 0; j <= i; ++j) {
        const auto away = static_cast<double>(i - j);
        double score = 0.0;
        for (std::int64_t c = 0; c < kD; c += 2) {
          const double zeta = (static_cast<double>(c) + 0.4 * kD) / (1.4 * kD);
          const double angle = away * std::pow(10000.0, -static_cast<double>(c) / kD);
          const double* const a = &qs[static_cast<std::size_t>(i * kD + c)];
          const double* const b = &ks[static_cast<std::size_t>(j * kD + c)];
          score +=
              std::pow(zeta, away / scale_base) * ((a[0] * b[0] + a[1] * b[1]) * std::cos(angle) +
                                                   (a[0] * b[1] - a[1] * b[0]) * std::sin(angle));
        }
        const double weight = std::exp(score / std::sqrt(static_cast<double>(kD)));
        total += weight;
        for (std::size_t c = 0; c < kD; ++c) {
          o[c] += weight * vs[static_cast<std::size_t>(j) * kD + c];
        }
      }
      for (const double sum : o) expected.push_back(sum / total);
    }
    for (const AttentionBackend backend :
         {AttentionBackend::kReference, AttentionBackend::kFused}) {
      std::vector<at::Tensor> inputs;
      for (const at::Tensor& x : {q, k, v}) {
        inputs.push_back(x.view({1, 1, n, kD}).to(at::kFloat).requires_grad_(true));
      }
      Attention attention =
          Attention::Make(terms, "xpos", shape, backend, OpenCompute("cpu", "fp32").value())
              .value();
      const at::Tensor o = attention.Forward({.q_BHTD = inputs[0],
                                              .k_BHTD = inputs[1],
                                              .v_BHTD = inputs[2],
                                              .x_BTC = {},
                                              .learned = {},
                                              .scale = terms.scale});
      ExpectNear(o, expected, 1e-5);
      Digest(o).backward();
      for (const at::Tensor& input : inputs) {
        EXPECT_TRUE(input.grad().isfinite().all().item<bool>()) << "scale_base " << scale_base;
      }
    }
  }
}

TEST(XposTest, OddHeadsAndModelsThatSeeAheadAreRefused) {
  EXPECT_EQ(Refusal("xpos", {.n_head = 2, .head_dim = 5, .d_model = 10}),
            "position.method: \"xpos\" turns pairs of channels and needs an even head_dim, found 5 "
            "(model.d_model 10 / model.n_head 2); choose another model.n_head or d_model");
  EXPECT_EQ(Refusal("xpos", {.n_head = 2, .head_dim = 8, .d_model = 16, .causal = false}),
            "position.method: \"xpos\" needs model.causal: true, since it is not defined for keys "
            "ahead of a query");
}

// ---- CoPE ---------------------------------------------------------------------------------------

const Json kCope = {{"method", "cope"}, {"max_positions", 4}};

TEST(CopeTest, MatchesTheVectors) {
  const at::Tensor table = G({8, 4}, 0.33, 0.6) * 0.2;
  const Problem problem(kCope, {table});
  at::Tensor scores = at::matmul(problem.q / std::sqrt(8.0), problem.k.transpose(2, 3));
  scores =
      scores + at::triu(at::full({6, 6}, -std::numeric_limits<double>::infinity(), at::kDouble), 1);
  const TermSpec only = {.content_position = problem.terms.content_position,
                         .learned = problem.terms.learned};
  ExpectNear(Added(only, {table}, problem.q, scores).select(0, 0).select(0, 1).select(0, 5),
             {0.16444001, 0.16473082, 0.16156747, 0.15522475, 0.13570566, 0.12474684});
  problem.ExpectDigest(2.718417394);
  // The counts themselves: a table that rises by one with each position, read by a query of ones.
  const at::Tensor ramp = at::arange(4, at::kDouble).view({1, 4});
  const at::Tensor counts =
      Added(only, {ramp}, at::full({1, 1, 6, 1}, 1.0, at::kDouble), scores.narrow(1, 0, 1));
  ExpectNear(counts.select(2, 5).reshape({-1}),
             {3.0, 2.43565222, 2.23266863, 1.50457235, 0.88886104, 0.69325066});
}

TEST(CopeTest, GradientsMatchCentralDifferences) {
  Problem(kCope, {G({8, 4}, 0.33, 0.6) * 0.2}).ExpectGradients();
}

TEST(CopeTest, StartsWithoutPositions) {
  const Problem cope("cope", {at::zeros({8, 64}, at::kDouble)});
  const Problem none("none", {});
  ExpectNear(cope.Output(), Numbers(none.Output()), 1e-12);
  EXPECT_EQ(cope.terms.learned[0].shape, (std::vector<std::int64_t>{8, 64}));
  EXPECT_EQ(cope.terms.learned[0].init.std, 0.0);
}

// ---- FoX ----------------------------------------------------------------------------------------

// F_i - F_j, F the running sum of ln sigmoid(w x + beta), written out with nothing shared.
TEST(FoxTest, TheBiasIsTheSumOfTheLogGatesStepsBehind) {
  const at::Tensor weight = G({2, 16}, 0.41, 0.31) * 0.5, bias = G({2}, 0.9, 0.2) * 0.1;
  const Problem problem("fox", {weight, bias});
  const std::vector<double> h = Numbers(at::matmul(problem.x.select(0, 0), weight.t()) + bias);
  at::Tensor scores = at::matmul(problem.q / std::sqrt(8.0), problem.k.transpose(2, 3)).clone();
  for (std::int64_t head = 0; head < 2; ++head) {
    for (std::int64_t i = 0; i < 6; ++i) {
      for (std::int64_t j = 0; j < 6; ++j) {
        double sum = j > i ? -std::numeric_limits<double>::infinity() : 0.0;
        for (std::int64_t u = j + 1; u <= i; ++u) {
          sum += std::log(1.0 / (1.0 + std::exp(-h[static_cast<std::size_t>(u * 2 + head)])));
        }
        scores.select(0, 0).select(0, head).select(0, i).select(0, j).add_(sum);
      }
    }
  }
  const at::Tensor expected = at::matmul(at::softmax(scores, -1), problem.v);
  ExpectNear(problem.Output(), Numbers(expected), 1e-12);
}

TEST(FoxTest, GradientsMatchCentralDifferences) {
  Problem("fox", {G({2, 16}, 0.41, 0.31) * 0.5, G({2}, 0.9, 0.2) * 0.1}).ExpectGradients();
}

}  // namespace
}  // namespace longrun
