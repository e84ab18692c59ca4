// Training with weight copies gives the bits of training that rounds every matrix in each pass.
#include "model/net/weight_copies.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/net/adamw.h"
#include "model/net/head.h"
#include "model/net/sample_copies.h"
#include "model/net/train_step.h"
#include "tests/model/net/fake_gpu.h"
#include "tests/model/net/small_model.h"

namespace longrun {
namespace {

constexpr std::int64_t kLength = 20;
constexpr const char* kMatrix = "transformer.h.1.mlp.c_fc.weight";  // of GPT-2's body

// With our kernels, with LibTorch's operators, and on a device as a GPU.
std::vector<Compute> Computes() {
  const Compute kernels = OpenCompute("cpu", "bf16").value();
  Compute aten = kernels, gpu;
  UseAtenOperators(aten);
  gpu.device = testing::FakeGpu();
  gpu.product = at::kBFloat16;
  return {kernels, aten, gpu};
}

Transformer NetOf(const NetConfig& config, ParameterMap parameters, const Compute& compute) {
  return Transformer::Make(config, std::move(parameters), AttentionBackend::kReference, compute)
      .value();
}

ParameterMap FirstWeights(const NetConfig& config) {
  return InitialParameters(ParametersOf(config.model).value(), 7);
}

at::Tensor OnHost(const at::Tensor& x) { return x.detach().to(at::kCPU).clone(); }

// What the copy of a weight holds, without rounding it again.
at::Tensor CopyOf(const Net& net, const at::Tensor& weight) {
  const Bf16* const written = net.weight_copies()->Written(weight);
  at::Tensor copy = at::empty(weight.sizes(), at::kBFloat16);
  std::copy_n(written, weight.numel(), reinterpret_cast<Bf16*>(copy.data_ptr<at::BFloat16>()));
  return copy;
}

struct Options {
  bool keeps = false;       // weight copies
  bool recomputes = false;  // activation checkpointing
  bool resumes = false;     // another network goes on from the third step
  bool forgets = false;     // a planted error: a copy is not written in the first step
};

// All that training has computed, as tensors of the host: the results of each step, what the
// network is in the middle of training, the weights, and the optimizer's state.
std::vector<at::Tensor> Train(const NetConfig& config, const Compute& compute,
                              const Options& options) {
  const auto prepare = [&](Transformer& net) {
    net.SetActivationCheckpointing(options.recomputes);
    if (options.keeps) net.KeepWeightCopies();
  };
  Transformer net = NetOf(config, FirstWeights(config), compute);
  prepare(net);
  std::optional<AdamW> optimizer;
  optimizer.emplace(OptimizerConfig(), net);
  SampleCopies copies(compute.device);
  const at::Tensor tokens = SmallTokens(4, kLength + 1);
  std::vector<at::Tensor> all;
  for (int t = 1; t <= 6; ++t) {
    // The loss of the second step is infinite, so its update is left out.
    TrainStep step(net, copies,
                   t == 2 ? std::numeric_limits<double>::infinity() : 1.0 / (4 * kLength));
    for (std::int64_t row = 0; row < 4; row += 2) {  // two micro-batches
      step.Add(Samples{.ids_BT = tokens.narrow(0, row, 2).narrow(1, 0, kLength).contiguous(),
                       .targets_BT = tokens.narrow(0, row, 2).narrow(1, 1, kLength).contiguous()});
    }
    const at::NoGradGuard no_grad;
    if (options.forgets && t == 1) {
      const at::Tensor& weight = net.parameters().at(kMatrix);
      const at::Tensor before = CopyOf(net, weight);
      all.push_back(OnHost(step.Finish(*optimizer, 1e-2)));
      std::copy_n(reinterpret_cast<const Bf16*>(before.const_data_ptr<at::BFloat16>()),
                  before.numel(), net.weight_copies()->Written(weight));
    } else {
      all.push_back(OnHost(step.Finish(*optimizer, 1e-2)));
    }
    if (t == 3 && options.resumes) {
      ParameterMap parameters;
      for (const auto& [name, weight] : net.parameters()) parameters[name] = OnHost(weight);
      std::map<std::string, at::Tensor> state;
      for (const auto& [name, moment] : optimizer->State()) state[name] = moment.clone();
      optimizer.reset();
      net = NetOf(config, std::move(parameters), compute);
      prepare(net);
      optimizer.emplace(OptimizerConfig(), net);
      EXPECT_TRUE(optimizer->Restore(state, t).ok());
    }
    if (t == 4) {
      const at::Tensor ids_BT = tokens.narrow(1, 0, kLength).contiguous().to(compute.device);
      all.push_back(OnHost(HeadLogits(net.Hidden(ids_BT).flatten(0, 1), net.head(), compute)));
    }
    // An operator changes all weights, as one that loads others would.
    if (t == 5) {
      for (const auto& [name, weight] : net.parameters()) at::Tensor(weight).mul_(0.75);
    }
  }
  for (const auto& [name, weight] : net.parameters()) all.push_back(OnHost(weight));
  for (const auto& [name, moment] : optimizer->State()) all.push_back(OnHost(moment));
  return all;
}

bool AreTheSame(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  return std::ranges::equal(a, b, [](const at::Tensor& x, const at::Tensor& y) {
    // Bytes: the norm of the second step's gradients may be NaN.
    const at::Tensor p = x.contiguous(), q = y.contiguous();
    return p.nbytes() == q.nbytes() && std::memcmp(p.data_ptr(), q.data_ptr(), p.nbytes()) == 0;
  });
}

NetConfig Config(const std::string& architecture) {
  const NetConfig config = SmallConfig("rope");
  return architecture == "gpt2" ? config : WithBody(config, architecture);
}

// GPT-2 has tied embeddings and weights (inputs, outputs); the others neither, gated MLPs, separate
// q, k and v, or parallel blocks.
class WeightCopiesTest : public ::testing::TestWithParam<std::string> {};

TEST_P(WeightCopiesTest, TrainingHasTheBitsOfTrainingWithoutCopies) {
  const NetConfig config = Config(GetParam());
  for (const Compute& compute : Computes()) {
    for (const bool recomputes : {false, true}) {
      const auto expected = Train(config, compute, {.recomputes = recomputes});
      EXPECT_TRUE(
          AreTheSame(Train(config, compute, {.keeps = true, .recomputes = recomputes}), expected))
          << compute.device << (compute.kernels ? " kernels " : " ") << recomputes;
    }
    EXPECT_TRUE(AreTheSame(Train(config, compute, {.keeps = true, .resumes = true}),
                           Train(config, compute, {.resumes = true})))
        << compute.device << (compute.kernels ? " kernels" : "");
  }
}

INSTANTIATE_TEST_SUITE_P(Bodies, WeightCopiesTest,
                         ::testing::Values("gpt2", "llama", "gptj", "gpt_neox"),
                         [](const auto& of) { return of.param; });

// So products read the copies, nothing rounds them again, and the comparison above sees it.
TEST(StaleWeightCopyTest, ACopyThatTheOptimizerDidNotWriteChangesTheWeights) {
  const NetConfig config = Config("gpt2");
  const Compute compute = Computes().front();
  ASSERT_TRUE(compute.kernels.has_value());
  EXPECT_FALSE(AreTheSame(Train(config, compute, {.keeps = true, .forgets = true}),
                          Train(config, compute, {.keeps = true})));
}

TEST(WeightCopiesOfStepsTest, TheOptimizerWritesACopyForEachMatrixOfAProduct) {
  const NetConfig config = Config("gpt2");
  for (const Compute& compute : Computes()) {
    Transformer net = NetOf(config, FirstWeights(config), compute);
    net.KeepWeightCopies();
    AdamW optimizer(OptimizerConfig(), net);
    SampleCopies copies(compute.device);
    const at::Tensor tokens = SmallTokens(2, kLength + 1);
    TrainStep step(net, copies, 1.0 / (2 * kLength));
    step.Add(Samples{.ids_BT = tokens.narrow(1, 0, kLength).contiguous(),
                     .targets_BT = tokens.narrow(1, 1, kLength).contiguous()});
    step.Finish(optimizer, 1e-2);
    int n_copy = 0;
    for (const auto& [name, weight] : net.parameters()) {
      const bool is_matrix = weight.dim() == 2;  // all of this network are factors of products
      EXPECT_EQ(net.weight_copies()->Written(weight) != nullptr, is_matrix) << name;
      if (!is_matrix) continue;
      ++n_copy;
      // LibTorch's optimizer leaves the copies to the next pass.
      if (!compute.kernels) net.weight_copies()->Rounded(weight);
      EXPECT_TRUE(at::equal(CopyOf(net, weight), OnHost(weight).to(at::kBFloat16))) << name;
    }
    EXPECT_EQ(n_copy, 2 * 4 + 1);
  }
}

TEST(WeightCopiesOfStepsTest, NoneAreKeptIfProductsTakeTheWeightsOwnType) {
  const NetConfig config = Config("gpt2");
  Transformer net = SmallNet(config, "fp32");
  net.KeepWeightCopies();
  EXPECT_EQ(net.weight_copies(), nullptr);
}

}  // namespace
}  // namespace longrun
