// Our kernels between products and attention beside LibTorch's operators, values and gradients,
// through autograd as a network calls them.
//
// Errors are relative, in the Frobenius norm, against the same operators in fp64. Ours must be
// within a bound, or, where a number is what is left of others that cancel, within 1.3 times
// LibTorch's own error.
#include "model/net/row_operators.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "base/str.h"
#include "kernels/cross_entropy.h"
#include "model/net/adamw.h"
#include "model/net/gradient.h"
#include "model/net/head.h"
#include "tests/model/net/small_model.h"

namespace longrun {
namespace {

using Tensors = std::vector<at::Tensor>;

Compute Fp64() { return OpenCompute("cpu", "fp64").value(); }

// Gradients of sum(w y) to the leaves, for fixed weights w of every output;
// the outputs before them.
Tensors WithGradients(const std::function<Tensors(const Tensors&)>& function, Tensors leaves) {
  for (at::Tensor& leaf : leaves) leaf = leaf.detach().clone().requires_grad_(true);
  Tensors results = function(leaves);
  at::Tensor loss = at::zeros({}, at::kDouble);
  for (const at::Tensor& y : results) {
    const at::Tensor weights =
        at::sin(at::arange(y.numel(), at::kDouble) * 0.7 + 0.3).view(y.sizes());
    loss = loss + (y.to(at::kDouble) * weights).sum();
  }
  loss.backward();
  for (at::Tensor& y : results) y = y.detach();
  for (const at::Tensor& leaf : leaves) results.push_back(leaf.grad());
  return results;
}

Tensors Doubles(const Tensors& tensors) {
  Tensors doubles;
  for (const at::Tensor& tensor : tensors) doubles.push_back(tensor.to(at::kDouble));
  return doubles;
}

double Error(const at::Tensor& found, const at::Tensor& exact) {
  return ((found.to(at::kDouble) - exact).norm() / (exact.norm() + 1e-30)).item<double>();
}

class RowOperatorsTest : public testing::TestWithParam<Simd> {
 protected:
  Compute Ours() const {
    Compute compute;
    compute.kernels = GetParam();
    return compute;
  }

  using Function = std::function<Tensors(const Tensors& leaves, const Compute& compute)>;
  // Ours, and LibTorch's, beside LibTorch's in fp64.
  void ExpectTheOperator(const Function& function, const Tensors& leaves, double bound = 3e-6) {
    const auto of = [&](const Compute& compute) {
      return [&function, compute](const Tensors& x) { return function(x, compute); };
    };
    const Tensors exact = WithGradients(of(Fp64()), Doubles(leaves));
    const Tensors ours = WithGradients(of(Ours()), leaves);
    const Tensors theirs = WithGradients(of(Compute()), leaves);
    ASSERT_EQ(ours.size(), exact.size());
    for (std::size_t i = 0; i < ours.size(); ++i) {
      ASSERT_TRUE(ours[i].defined()) << i;
      EXPECT_EQ(ours[i].scalar_type(), theirs[i].scalar_type()) << i;
      const double allowed = std::max(bound, 1.3 * Error(theirs[i], exact[i]));
      EXPECT_LT(Error(ours[i], exact[i]), allowed) << "output or gradient " << i;
    }
  }
};

at::Tensor Random(std::initializer_list<std::int64_t> shape) {
  return at::randn(shape, at::kFloat);
}

TEST_P(RowOperatorsTest, NormsAndTheirResidualsAreLibTorchs) {
  for (const bool centred : {true, false}) {
    // Of two channels a centred norm's gradient is nothing but rounding.
    for (const auto& [rows, channels] : {std::pair(1, 5), std::pair(3, 7), std::pair(70, 96)}) {
      const Function norm = [centred](const Tensors& x, const Compute& compute) -> Tensors {
        const NormWeights weights = {
            .weight_C = x[1], .bias_C = centred ? x[2] : at::Tensor(), .centred = centred};
        return {Norm(x[0], weights, compute.dtype, compute)};
      };
      Tensors leaves = {Random({2, rows, channels}), Random({channels})};
      if (centred) leaves.push_back(Random({channels}));
      ExpectTheOperator(norm, leaves, 2e-5);

      const Function added = [centred](const Tensors& x, const Compute& compute) -> Tensors {
        const NormWeights weights = {
            .weight_C = x[2], .bias_C = centred ? x[3] : at::Tensor(), .centred = centred};
        const AddedNorm both =
            AddNorm({.x = x[0], .addend = x[1]}, weights, compute.dtype, compute);
        return {both.sum, both.normed};
      };
      leaves.insert(leaves.begin() + 1, Random({2, rows, channels}));
      ExpectTheOperator(added, leaves, 2e-5);
    }
  }
}

TEST_P(RowOperatorsTest, ABf16AddendAndResultAreThoseOfAutocast) {
  const Function added = [](const Tensors& x, const Compute& compute) -> Tensors {
    const NormWeights weights = {.weight_C = x[2], .bias_C = x[3]};
    const auto type = compute.dtype == at::kDouble ? at::kDouble : at::kBFloat16;
    const AddedNorm both = AddNorm({.x = x[0], .addend = x[1]}, weights, type, compute);
    return {both.sum, both.normed};
  };
  ExpectTheOperator(
      added, {Random({66, 40}), Random({66, 40}).to(at::kBFloat16), Random({40}), Random({40})},
      4e-3);  // a bf16 result, and gradients that come through it
}

TEST_P(RowOperatorsTest, ActivationsAreLibTorchs) {
  for (const std::string& name : EnumChoices<MlpActivation>()) {
    SCOPED_TRACE(name);
    const MlpActivation f = *FindEnum<MlpActivation>(name);
    for (const auto& type : {at::kFloat, at::kBFloat16}) {
      const Function biased = [f](const Tensors& x, const Compute& compute) -> Tensors {
        return {Activate(f, x[0], x[1], compute)};
      };
      const Function plain = [f](const Tensors& x, const Compute& compute) -> Tensors {
        return {Activate(f, x[0], {}, compute)};
      };
      const Function gated = [f](const Tensors& x, const Compute& compute) -> Tensors {
        return {ActivateGate(f, x[0], x[1], compute)};
      };
      const at::Tensor h = Random({5, 13, 37}).to(type);
      const double bound = type == at::kFloat ? 3e-6 : 4e-3;
      ExpectTheOperator(biased, {h, Random({37})}, bound);
      ExpectTheOperator(plain, {h}, bound);
      ExpectTheOperator(gated, {h, Random({5, 13, 37}).to(type)}, bound);
    }
  }
}

TEST_P(RowOperatorsTest, AnEmbeddingIsLibTorchsWithAndWithoutAGradientThatIsThereAlready) {
  const at::Tensor ids = at::randint(11, {4, 30}, at::kLong);
  const Function embed = [&ids](const Tensors& x, const Compute& compute) -> Tensors {
    return {Embed(x[0], ids, 3, compute)};
  };
  ExpectTheOperator(embed, {Random({11, 9})});

  at::Tensor weight = Random({11, 9}).requires_grad_(true);
  const at::Tensor before = Random({11, 9});
  weight.mutable_grad() = before.clone();
  at::Tensor theirs = weight.detach().clone().requires_grad_(true);
  theirs.mutable_grad() = before.clone();
  const at::Tensor dy = Random({4, 30, 9});
  Embed(weight, ids, 3, Ours()).backward(dy);
  Embed(theirs, ids, 3, Compute()).backward(dy);
  EXPECT_LT(Error(weight.grad(), theirs.grad().to(at::kDouble)), 1e-6);
  EXPECT_TRUE(at::equal(weight.grad()[3], before[3]));
}

TEST_P(RowOperatorsTest, CumulatedGatesAreLibTorchs) {
  for (const bool log_sigmoid : {false, true}) {
    for (const bool negated : {false, true}) {
      const Function gate = [=](const Tensors& x, const Compute& compute) -> Tensors {
        return {CumulatedGate(x[0], log_sigmoid, negated, compute)};
      };
      ExpectTheOperator(gate, {Random({2, 200, 3}) * 2.0});
    }
  }
}

TEST_P(RowOperatorsTest, TheHeadsLossAndGradientsAreLibTorchs) {
  for (const bool biased : {false, true}) {
    const at::Tensor hidden = Random({50, 24}), weight = Random({333, 24}), bias = Random({333});
    const at::Tensor targets = at::randint(333, {50}, at::kLong);
    const auto run = [&](const Compute& compute) -> Tensors {
      const auto to = [&](const at::Tensor& x) { return x.to(compute.dtype); };
      const Head head = {.weight_VC = to(weight), .bias_V = biased ? to(bias) : at::Tensor()};
      Head sums = {.weight_VC = at::Tensor(),
                   .bias_V = biased ? at::zeros_like(head.bias_V) : at::Tensor()};
      GradientRoom room;
      const HeadGradient found =
          HeadNllBackward(to(hidden), head, targets, 0.02, compute, &sums, &room);
      Tensors all = {found.nll_N, found.hidden_NC, sums.weight_VC,
                     HeadNll(to(hidden), head, targets, compute)};
      if (biased) all.push_back(sums.bias_V);
      return all;
    };
    const Tensors exact = run(Fp64()), ours = run(Ours());
    for (std::size_t i = 0; i < ours.size(); ++i) {
      EXPECT_LT(Error(ours[i], exact[i]), 5e-6) << "result " << i;
    }
  }
}

// The gradient of the weight is a sum over chunks; 16 rows of this vocabulary have 2^23 logits.
TEST(HeadTest, WideChunksChangeTheGradientOnlyByRounding) {
  constexpr std::int64_t kVocab = 1 << 19, kWidth = 24, kRows = 60;
  at::manual_seed(5);
  const at::Tensor hidden = Random({kRows, kWidth}), weight = Random({kVocab, kWidth});
  const at::Tensor targets = at::randint(kVocab, {kRows}, at::kLong);
  const auto run = [&](Compute compute, HeadChunks chunks) -> Tensors {
    compute.head_chunks = chunks;
    const auto to = [&](const at::Tensor& x) { return x.to(compute.dtype); };
    const Head head = {.weight_VC = to(weight)};
    Head sums;
    GradientRoom room;
    const HeadGradient found =
        HeadNllBackward(to(hidden), head, targets, 0.02, compute, &sums, &room);
    return {sums.weight_VC, found.nll_N, found.hidden_NC,
            HeadNll(to(hidden), head, targets, compute)};
  };
  const Compute fp32 = OpenCompute("cpu", "fp32").value();
  const Tensors exact = run(Fp64(), HeadChunks::kByLogits);
  const Tensors by_logits = run(fp32, HeadChunks::kByLogits);
  const Tensors by_width = run(fp32, HeadChunks::kByWidth);
  for (std::size_t i = 0; i < exact.size(); ++i) {
    EXPECT_LT(Error(by_width[i], exact[i]), 5e-6) << "result " << i;
  }
  EXPECT_FALSE(at::equal(by_width[0], by_logits[0])) << "the chunks are the same";
  EXPECT_TRUE(at::equal(by_width[3], by_logits[3])) << "an evaluation depends on it";
}

// As if the rows of ignored targets were not there.
TEST_P(RowOperatorsTest, IgnoredTargetsAddNothingToLossAndGradients) {
  const at::Tensor hidden = Random({50, 24}), weight = Random({333, 24}), bias = Random({333});
  const at::Tensor kept = at::arange(50, at::kLong).remainder(3).ne(0);
  const at::Tensor targets = at::randint(333, {50}, at::kLong);
  const auto run = [&](const Compute& compute, const at::Tensor& rows,
                       const at::Tensor& of_rows) -> Tensors {
    const auto to = [&](const at::Tensor& x) { return x.to(compute.dtype); };
    const Head head = {.weight_VC = to(weight), .bias_V = to(bias)};
    Head sums = {.weight_VC = at::zeros_like(head.weight_VC),
                 .bias_V = at::zeros_like(head.bias_V)};
    GradientRoom room;
    const HeadGradient found =
        HeadNllBackward(to(rows), head, of_rows, 0.02, compute, &sums, &room);
    return {found.nll_N, found.hidden_NC, HeadNll(to(rows), head, of_rows, compute), sums.weight_VC,
            sums.bias_V};
  };
  const at::Tensor ignoring = targets.masked_fill(kept.logical_not(), kIgnoredTarget);
  const at::Tensor places = kept.nonzero().squeeze(1);
  const Tensors expected =
      run(Fp64(), hidden.index_select(0, places), targets.index_select(0, places));
  for (const Compute& compute : {Fp64(), Ours(), Compute()}) {
    const Tensors found = run(compute, hidden, ignoring);
    const double tolerance = compute.dtype == at::kDouble ? 1e-13 : 5e-6;
    for (std::size_t i = 0; i < found.size(); ++i) {
      const bool by_row = i < 3;
      const at::Tensor rows = by_row ? found[i].index_select(0, places) : found[i];
      EXPECT_LT(Error(rows, expected[i]), tolerance) << "result " << i;
      if (by_row) {
        const at::Tensor others = found[i].index_select(0, kept.logical_not().nonzero().squeeze(1));
        EXPECT_TRUE(at::equal(others, at::zeros_like(others))) << "result " << i;
      }
    }
  }
}

TEST_P(RowOperatorsTest, StepsOfTheOptimizerAreLibTorchs) {
  ParameterMap ours = {{"a", Random({70, 33}).requires_grad_(true)},
                       {"b", Random({5}).requires_grad_(true)}};
  ParameterMap theirs;
  for (const auto& [name, tensor] : ours) {
    theirs[name] = tensor.detach().clone().requires_grad_(true);
  }
  const OptimizerConfig config = {.lr = 0.01, .weight_decay = 0.1, .grad_clip = 1.0};
  AdamW kernel(config, ours, GetParam()), torch(config, theirs);
  for (int t = 0; t < 4; ++t) {
    for (auto& [name, tensor] : ours) {
      tensor.mutable_grad() = at::randn(tensor.sizes(), at::kFloat);
      theirs[name].mutable_grad() = tensor.grad().clone();
    }
    EXPECT_NEAR((kernel.ClipGradients() / torch.ClipGradients()).item<double>(), 1.0, 1e-6);
    kernel.Step(0.01);
    torch.Step(0.01);
  }
  for (const auto& [name, tensor] : ours) {
    EXPECT_LT(Error(tensor.detach(), theirs[name].detach().to(at::kDouble)), 1e-6) << name;
  }
}

// Every body of the small models, a step of training through both.
TEST_P(RowOperatorsTest, ANetworksGradientsAreThoseOfLibTorchsOperators) {
  for (const std::string architecture : {"gpt2", "llama", "gpt_neox"}) {
    for (const std::string method : {"cable", "rope"}) {
      const NetConfig config = WithBody(SmallConfig({{"method", method}}), architecture);
      const std::vector<ParameterSpec> specs = ParametersOf(config.model).value();
      const at::Tensor ids_BT = SmallTokens(3, 21);
      const auto run = [&](const Compute& compute) {
        Transformer net = Transformer::Make(config, InitialParameters(specs, 7),
                                            AttentionBackend::kReference, compute)
                              .value();
        ClearGradients(net);
        const at::Tensor nll =
            AddGradients(net, ids_BT.narrow(1, 0, 20), ids_BT.narrow(1, 1, 20), 1.0 / 60);
        ParameterMap all = {{"nll", nll}};
        for (const auto& [name, tensor] : net.parameters()) all[name] = GradientOf(tensor);
        return all;
      };
      const ParameterMap exact = run(Fp64());
      for (const auto& [name, found] : run(Ours())) {
        // A bias of keys has no gradient but rounding's.
        if (exact.at(name).norm().item<double>() < 1e-10) continue;
        EXPECT_LT(Error(found, exact.at(name)), 2e-4)
            << architecture << ", " << method << ", " << name;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Every, RowOperatorsTest,
                         testing::ValuesIn(RunnableSimds().begin(), RunnableSimds().end()),
                         [](const testing::TestParamInfo<Simd>& of) {
                           return std::string(SimdName(of.param));
                         });

TEST(RowOperatorsChoiceTest, KernelsAreNotForFp64) {
  EXPECT_EQ(OperatorsName(OpenCompute("cpu", "fp32").value()), "longrun");
  EXPECT_EQ(OperatorsName(OpenCompute("cpu", "bf16").value()), "longrun");
  EXPECT_EQ(OperatorsName(OpenCompute("cpu", "fp64").value()), "aten");
  EXPECT_EQ(SimdName(*OpenCompute("cpu", "fp32")->kernels), SimdPath());
}

}  // namespace
}  // namespace longrun
