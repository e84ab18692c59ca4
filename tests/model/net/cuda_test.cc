// The network on a GPU, held against the oracle's numbers that the CPU is held against, and its
// training: bf16 learns, a resumed run goes on bit for bit. The same tests run on the CPU, where
// they can be tried without a GPU.
//
// Without a GPU those on "cuda" are skipped; with LONGRUN_GPU_TESTS=1 (set by tools/gpu.sh) they
// fail instead, so that a GPU run cannot pass by skipping.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/max.h>
#include <ATen/ops/norm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/stack.h>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/function.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "base/process.h"
#include "base/str.h"
#include "model/net/adamw.h"
#include "model/net/checkpoint.h"
#include "model/net/decoder.h"
#include "model/net/generate.h"
#include "model/net/gradient.h"
#include "model/net/head.h"
#include "model/net/kernel_attention.h"
#include "model/net/recorded_passes.h"
#include "model/net/recorder.h"
#include "model/net/row_operators.h"
#include "model/net/sample_copies.h"
#include "model/net/throughput.h"
#include "model/net/to_device.h"
#include "model/net/train_step.h"
#include "model/net/transformer.h"
#include "tests/model/net/golden.h"
#include "tests/model/net/small_model.h"

namespace longrun {
namespace {

double MaxAbs(const at::Tensor& a) {
  return a.to(at::kCPU, at::kDouble).abs().max().item<double>();
}
double MaxDifference(const at::Tensor& a, const at::Tensor& b) {
  return MaxAbs(a.to(at::kCPU, at::kDouble) - b.to(at::kCPU, at::kDouble));
}

// While one exists, an operator or a copy that makes the host wait for the GPU throws: LibTorch's
// debug mode (torch.cuda.set_sync_debug_mode("error")). It is only in headers that need CUDA's, so
// its variable is found by its name. Waiting for an event is allowed.
class NoWait {
 public:
  explicit NoWait(bool is_cuda) {
    if (!is_cuda) return;
    mode_ =
        static_cast<int*>(dlsym(RTLD_DEFAULT, "_ZZN3c104cuda13warning_stateEvE14warning_state_"));
    LR_CHECK(mode_ != nullptr);
    *mode_ = 2;  // c10::cuda::SyncDebugMode::L_ERROR
  }
  ~NoWait() {
    if (mode_ != nullptr) *mode_ = 0;
  }
  NoWait(const NoWait&) = delete;
  NoWait& operator=(const NoWait&) = delete;

 private:
  int* mode_ = nullptr;
};

class DeviceTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const Result<Compute> compute = OpenCompute(GetParam(), "fp32");
    if (!compute) {
      if (GetEnv("LONGRUN_GPU_TESTS") == "1") {
        FAIL() << "LONGRUN_GPU_TESTS=1 asks for a GPU: " << compute.status().message();
      }
      GTEST_SKIP() << compute.status().message();
    }
    FixNumerics({}, compute->device);
  }

  static Transformer Net(const NetConfig& config, ParameterMap parameters,
                         const std::string& precision) {
    return Transformer::Make(config, std::move(parameters), AttentionBackend::kReference,
                             OpenCompute(GetParam(), precision).value())
        .value();
  }
  static Transformer GoldenNet(const std::string& name, const std::string& precision) {
    const NetConfig config = GoldenConfig(name);
    return Net(config, FormulaWeights(config.model), precision);
  }
  static at::Tensor Logits(Transformer& net, const at::Tensor& tokens_BT) {
    const at::NoGradGuard no_grad;
    const at::Tensor ids_BT = tokens_BT.to(net.compute().device);
    return HeadLogits(net.Hidden(ids_BT).flatten(0, 1), net.head(), net.compute())
        .view({tokens_BT.size(0), tokens_BT.size(1), -1});
  }
  // The mean loss over the sequences; its gradient is left in the parameters.
  static double Gradients(Transformer& net, const at::Tensor& tokens_BT) {
    const at::Tensor ids_BT = tokens_BT.to(net.compute().device);
    const std::int64_t n = ids_BT.size(1) - 1;
    const double weight = 1.0 / static_cast<double>(ids_BT.size(0) * n);
    ClearGradients(net);
    const at::Tensor nll_N = AddGradients(net, ids_BT, ids_BT.narrow(1, 1, n), weight);
    return nll_N.sum(at::kDouble).item<double>() * weight;
  }
  // Steps on one batch; gives the loss before the last.
  static double TrainSteps(Transformer& net, AdamW& optimizer, const at::Tensor& tokens_BT,
                           int n_steps) {
    double loss = 0.0;
    for (int step = 0; step < n_steps; ++step) {
      loss = Gradients(net, tokens_BT);
      optimizer.ClipGradients();
      optimizer.Step(1e-2);
    }
    return loss;
  }
};

TEST_P(DeviceTest, LogitsAreThoseOfTheOracle) {
  for (const char* name : kGoldenCases) {
    const at::Tensor tokens = GoldenTensor(name, "tokens");
    const at::Tensor expected = GoldenTensor(name, "logits");
    Transformer exact = GoldenNet(name, "fp64");
    Transformer single = GoldenNet(name, "fp32");
    Transformer brain = GoldenNet(name, "bf16");
    Transformer half = GoldenNet(name, "fp16");

    EXPECT_LT(MaxDifference(Logits(exact, tokens), expected), 1e-8) << name;
    // Logits of size 1 through sums of 64 terms: 64 * 2^-24 = 4e-6,
    // in another order on each device.
    EXPECT_LT(MaxDifference(Logits(single, tokens), expected), 2e-5) << name;
    // bf16 keeps 8 bits.
    EXPECT_LT(MaxDifference(Logits(brain, tokens), expected), 0.1) << name;
    // fp16 keeps 11.
    EXPECT_LT(MaxDifference(Logits(half, tokens), expected), 0.1 / 8) << name;
  }
}

TEST_P(DeviceTest, GradientsAreThoseOfTheOracle) {
  for (const char* name : kGoldenCases) {
    const at::Tensor tokens = GoldenTensor(name, "tokens");
    const SafetensorsFile file =
        SafetensorsFile::Open(GoldenFolder(name) + "/expected.safetensors").value();
    Transformer exact = GoldenNet(name, "fp64");
    Transformer single = GoldenNet(name, "fp32");

    Gradients(exact, tokens);
    Gradients(single, tokens);

    for (const auto& [key, stored] : file.tensors()) {
      if (!key.starts_with("grad.")) continue;
      const at::Tensor expected = ToTensor(stored);
      const std::string parameter = key.substr(5);
      const at::Tensor in_double = GradientOf(exact.parameters().at(parameter));
      const at::Tensor in_single = GradientOf(single.parameters().at(parameter));
      EXPECT_LT(MaxDifference(in_double, expected), 1e-8) << name << " " << parameter;
      EXPECT_LT(MaxDifference(in_single, expected), 1e-6 + 1e-4 * MaxAbs(expected))
          << name << " " << parameter;
    }
  }
}

// Other norms, MLPs, blocks, biases, grouped heads, windows.
TEST_P(DeviceTest, LogitsOfEveryBodyAreThoseOfTheOracle) {
  for (const char* name : kBodyCases) {
    const at::Tensor tokens = GoldenTensor(name, "tokens");
    const at::Tensor expected = GoldenTensor(name, "logits");
    Transformer exact = GoldenNet(name, "fp64");
    Transformer single = GoldenNet(name, "fp32");

    EXPECT_LT(MaxDifference(Logits(exact, tokens), expected), 1e-8) << name;
    EXPECT_LT(MaxDifference(Logits(single, tokens), expected), 2e-5) << name;
  }
}

// 70 tokens, so that there are several tiles of queries and of keys.
TEST_P(DeviceTest, GradientsOfEachMethodAreThoseOfTheCpu) {
  const at::Tensor tokens = SmallTokens(2, 70);
  for (const std::string& method : PositionMethodNames()) {
    NetConfig config = SmallConfig(method, method == "learned" ? 70 : 0);
    config.model.d_model = 32;  // two heads of 16
    const ParameterMap parameters = InitialParameters(ParametersOf(config.model).value(), 7);
    // The logits and all gradients.
    const auto results = [&](const char* device, const char* precision,
                             AttentionBackend attention) {
      Transformer net =
          Transformer::Make(config, parameters, attention, OpenCompute(device, precision).value())
              .value();
      Gradients(net, tokens);
      std::vector<at::Tensor> all = {Logits(net, tokens).flatten()};
      for (const auto& [name, parameter] : net.parameters()) {
        all.push_back(GradientOf(parameter).flatten());
      }
      return at::cat(all).to(at::kCPU, at::kDouble);
    };
    const at::Tensor exact = results("cpu", "fp64", AttentionBackend::kReference);
    const auto error = [&](const char* precision, AttentionBackend attention) {
      return at::norm(results(GetParam(), precision, attention) - exact).item<double>() /
             at::norm(exact).item<double>();
    };
    EXPECT_LT(error("fp64", AttentionBackend::kReference), 1e-12) << method;
    if (method == "cope") continue;  // no fused attention has it
    EXPECT_LT(error("fp32", AttentionBackend::kFused), 1e-5) << method;
    EXPECT_LT(error("bf16", AttentionBackend::kFused),
              1.3 * error("bf16", AttentionBackend::kReference))
        << method;
  }
}

// Sizes of rows that kernels read in chunks, and that they do not; of GPT-2 small; of a block.
TEST_P(DeviceTest, NormsAndActivationsAreThoseOfTheCpuInFp64) {
  const Compute compute = OpenCompute(GetParam(), "fp32").value();
  if (!KernelFor(compute).ok()) GTEST_SKIP() << "no kernels for this device";
  EXPECT_EQ(OperatorsName(compute), "longrun");
  EXPECT_EQ(OperatorsName(OpenCompute(GetParam(), "bf16").value()), "longrun");
  EXPECT_EQ(OperatorsName(OpenCompute(GetParam(), "fp64").value()), "aten");
  Compute plain = compute;
  UseAtenOperators(plain);
  EXPECT_EQ(OperatorsName(plain), "aten");

  // The results, and the gradients of sum(w y) to the leaves, where w is fixed.
  using Tensors = std::vector<at::Tensor>;
  using Function = std::function<Tensors(const Tensors&, const Compute&)>;
  const auto results = [](const Function& function, Tensors leaves, const Compute& on) {
    for (at::Tensor& leaf : leaves) {
      const bool is_exact = on.dtype == at::kDouble;
      leaf = leaf.to(on.device, is_exact ? at::kDouble : leaf.scalar_type());
      leaf = leaf.detach().clone().requires_grad_(true);
    }
    Tensors found = function(leaves, on);
    at::Tensor loss;
    for (const at::Tensor& y : found) {
      // Multiples of 1/64, so that bf16 rounds none.
      const at::Tensor w =
          at::arange(y.numel(), at::kDouble).mul(0.7).sin().mul(64).round().div(64).view(y.sizes());
      const at::Tensor part = (y.to(at::kDouble) * w.to(on.device)).sum();
      loss = loss.defined() ? loss + part : part;
    }
    loss.backward();
    for (const at::Tensor& leaf : leaves) found.push_back(leaf.grad());
    for (at::Tensor& one : found) one = one.detach().to(at::kCPU, at::kDouble);
    return found;
  };
  const auto expect_close = [&](const Function& function, const Tensors& leaves, double bound,
                                const std::string& what) {
    const Tensors exact = results(function, leaves, OpenCompute("cpu", "fp64").value());
    const Tensors found = results(function, leaves, compute);
    for (std::size_t i = 0; i < exact.size(); ++i) {
      const double error = at::norm(found[i] - exact[i]).item<double>();
      EXPECT_LT(error, bound * at::norm(exact[i]).item<double>())
          << what << ": output or gradient " << i;
    }
    Tensors there;
    for (const at::Tensor& leaf : leaves) {
      there.push_back(leaf.to(compute.device).detach().requires_grad_(true));
    }
    for (const at::Tensor& y : function(there, compute)) {
      // By our function, not by LibTorch's.
      EXPECT_NE(y.grad_fn()->name().find("longrun"), std::string::npos) << y.grad_fn()->name();
    }
  };
  for (const std::int64_t n : {37, 64, 768, 1032}) {
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      const std::string what = Str(n, " channels, ", type == at::kFloat ? "fp32" : "bf16");
      const double bound = type == at::kFloat ? 2e-5 : 6e-3;
      const auto random = [&](std::initializer_list<std::int64_t> sizes, at::ScalarType of) {
        return at::randn(sizes, at::kFloat).to(of);
      };
      for (const bool centred : {true, false}) {
        const Function added = [&](const Tensors& x, const Compute& on) -> Tensors {
          const NormWeights weights = {
              .weight_C = x[2], .bias_C = centred ? x[3] : at::Tensor(), .centred = centred};
          const auto to = on.dtype == at::kDouble ? at::kDouble : type;
          const AddedNorm both = AddNorm({.x = x[0], .addend = x[1]}, weights, to, on);
          return {both.sum, both.normed, Norm(x[0], weights, to, on)};
        };
        Tensors leaves = {random({5, 9, n}, at::kFloat), random({5, 9, n}, type),
                          random({n}, at::kFloat)};
        if (centred) leaves.push_back(random({n}, at::kFloat));
        expect_close(added, leaves, bound, what);
      }
      for (const MlpActivation f :
           {MlpActivation::kGeluNew, MlpActivation::kGelu, MlpActivation::kSilu}) {
        const Function all = [f](const Tensors& x, const Compute& on) -> Tensors {
          return {Activate(f, x[0], x[2], on), Activate(f, x[1], {}, on),
                  ActivateGate(f, x[0], x[1], on)};
        };
        expect_close(all, {random({70, n}, type), random({70, n}, type), random({n}, at::kFloat)},
                     bound, what);
      }
    }
  }
}

TEST_P(DeviceTest, TheGradientOfABiasIsASumInFp32) {
  for (const char* precision : {"fp32", "bf16"}) {
    const Compute compute = OpenCompute(GetParam(), precision).value();
    const auto random = [&](std::initializer_list<std::int64_t> sizes) {
      return at::randn(sizes, at::kFloat).to(compute.device, compute.product);
    };
    const at::Tensor x = random({700, 12}).requires_grad_(true), w = random({12, 37});
    const at::Tensor bias = random({37}).to(at::kFloat).requires_grad_(true);
    // Multiples of 1/64, so that neither bf16 nor a sum in fp32 rounds any.
    const at::Tensor dy = random({700, 37}).to(at::kDouble).mul(64).round().div(64).clamp(-2, 2);

    const at::Tensor y = BiasedLinear(x, {.weight = w}, bias, compute);
    (y.to(at::kDouble) * dy).sum().backward();

    const auto exact = [](const at::Tensor& of) { return of.detach().to(at::kDouble); };
    const auto error = [&](const at::Tensor& found, const at::Tensor& expected) {
      return (at::norm(exact(found) - expected) / at::norm(expected)).item<double>();
    };
    const double bound = compute.product == at::kFloat ? 1e-6 : 4e-3;
    EXPECT_LT(error(y, exact(x).matmul(exact(w)) + exact(bias)), bound) << precision;
    EXPECT_LT(error(x.grad(), dy.matmul(exact(w).t())), bound) << precision;
    // LibTorch rounds the sum.
    if (compute.product == at::kBFloat16 && !compute.gpu_kernels) continue;
    EXPECT_EQ(MaxDifference(bias.grad(), dy.sum(0)), 0.0) << precision;
  }
}

TEST_P(DeviceTest, GradientsAreTheSameBitsEachTime) {
  const at::Tensor tokens = GoldenTensor("cable", "tokens");
  Transformer one = GoldenNet("cable", "fp32");
  Transformer two = GoldenNet("cable", "fp32");

  Gradients(one, tokens);
  Gradients(two, tokens);

  for (const auto& [name, parameter] : one.parameters()) {
    EXPECT_TRUE(at::equal(GradientOf(parameter), GradientOf(two.parameters().at(name)))) << name;
  }
}

// As many distances as from which LibTorch may add a table's gradient in any order.
TEST_P(DeviceTest, ATablesGradientHasTheSameBitsForALongText) {
  NetConfig config = SmallConfig("t5");
  config.model.d_model = 32;  // two heads of 16
  const std::vector<ParameterSpec> specs = ParametersOf(config.model).value();
  const at::Tensor tokens = SmallTokens(1, 3500);
  std::vector<ParameterMap> gradients;
  for (int i = 0; i < 2; ++i) {
    Transformer net =
        Transformer::Make(config, InitialParameters(specs, 7), AttentionBackend::kFused,
                          OpenCompute(GetParam(), "fp32").value())
            .value();
    Gradients(net, tokens);
    ParameterMap& of_net = gradients.emplace_back();
    for (const auto& [name, parameter] : net.parameters()) {
      of_net.emplace(name, GradientOf(parameter));
    }
  }
  for (const auto& [name, gradient] : gradients[0]) {
    EXPECT_TRUE(at::equal(gradient, gradients[1].at(name))) << name;
  }
}

// What is in the weights and in the optimizer after six steps of two passes, and the results of
// the steps. The loss of the second step is infinite, so its update is left out; the gradients of
// the others are clipped.
std::vector<at::Tensor> AfterSixSteps(Transformer& net, AdamW& optimizer) {
  const at::Tensor tokens = SmallTokens(4, 101);
  SampleCopies copies(net.compute().device);
  std::vector<at::Tensor> all;
  for (int t = 1; t <= 6; ++t) {
    TrainStep step(net, copies, t == 2 ? std::numeric_limits<double>::infinity() : 1.0 / 40);
    for (std::int64_t row = 0; row < 4; row += 2) {
      step.Add(Samples{.ids_BT = tokens.narrow(0, row, 2).narrow(1, 0, 100).contiguous(),
                       .targets_BT = tokens.narrow(0, row, 2).narrow(1, 1, 100).contiguous()});
    }
    all.push_back(step.Finish(optimizer, 1e-2));
  }
  for (const auto& [name, weight] : net.parameters()) all.push_back(weight.detach());
  for (const auto& [name, moment] : optimizer.State()) all.push_back(moment);
  return all;
}

bool HaveTheSameBits(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  return std::ranges::equal(a, b, [](const at::Tensor& x, const at::Tensor& y) {
    const at::Tensor p = x.to(at::kCPU).contiguous(), q = y.to(at::kCPU).contiguous();
    return p.nbytes() == q.nbytes() && std::memcmp(p.data_ptr(), q.data_ptr(), p.nbytes()) == 0;
  });
}

// CUDA graphs: what is in the weights after six steps of three passes, the last one smaller.
TEST_P(DeviceTest, RecordedPassesHaveTheSameBits) {
  const Compute compute = OpenCompute(GetParam(), "fp32").value();
  if (compute.device.is_cpu()) GTEST_SKIP() << "a CPU has no recorder";
  const at::Tensor tokens = SmallTokens(2, 101);
  for (const std::string& method : PositionMethodNames()) {
    for (const char* const precision : {"fp32", "bf16"}) {
      SCOPED_TRACE(Str(method, " ", precision));
      NetConfig config = SmallConfig(method, method == "learned" ? 100 : 0);
      config.model.d_model = 32;  // two heads of 16
      const AttentionBackend attention =
          method == "cope" ? AttentionBackend::kReference : AttentionBackend::kFused;
      const auto train = [&](std::unique_ptr<Recorder> recorder) {
        Transformer net =
            Transformer::Make(config, InitialParameters(ParametersOf(config.model).value(), 7),
                              attention, OpenCompute(GetParam(), precision).value())
                .value();
        net.KeepWeightCopies();
        AdamW optimizer(OptimizerConfig(), net);
        std::optional<RecordedPasses> recorded;
        if (recorder) recorded.emplace(net, std::move(recorder));
        SampleCopies copies(compute.device);
        std::vector<at::Tensor> all;
        for (int t = 0; t < 6; ++t) {
          TrainStep step(net, copies, 1.0 / 500, recorded ? &*recorded : nullptr);
          for (int i = 0; i < 3; ++i) {
            const at::Tensor of_pass = (tokens.narrow(0, 0, i < 2 ? 2 : 1) + (3 * t + i)) % 13;
            step.Add(Samples{.ids_BT = of_pass.narrow(1, 0, 100).contiguous(),
                             .targets_BT = of_pass.narrow(1, 1, 100).contiguous()});
          }
          all.push_back(step.Finish(optimizer, 1e-2).clone());
        }
        for (const auto& [name, weight] : net.parameters()) all.push_back(weight.detach());
        return all;
      };
      EXPECT_TRUE(HaveTheSameBits(train(OpenRecorder(compute.device).value()), train(nullptr)));
    }
  }
}

// With the optimizer of the device's kernels.
TEST_P(DeviceTest, WeightCopiesChangeNoBitOfATraining) {
  for (const char* architecture : {"gpt2", "llama"}) {
    NetConfig config = SmallConfig("rope");
    config.model.d_model = 32;
    if (std::string(architecture) != "gpt2") config = WithBody(config, architecture);
    for (const bool recomputes : {false, true}) {
      const auto weights = [&] { return InitialParameters(ParametersOf(config.model).value(), 7); };
      Transformer with = Net(config, weights(), "bf16"), without = Net(config, weights(), "bf16");
      with.KeepWeightCopies();
      with.SetActivationCheckpointing(recomputes);
      without.SetActivationCheckpointing(recomputes);
      AdamW optimizer(OptimizerConfig(), with), other(OptimizerConfig(), without);
      EXPECT_TRUE(HaveTheSameBits(AfterSixSteps(with, optimizer), AfterSixSteps(without, other)))
          << architecture << " " << recomputes;

      // What the optimizer wrote is what rounding gives.
      const at::NoGradGuard no_grad;
      int n_copy = 0;
      for (const auto& [name, weight] : with.parameters()) {
        if (with.weight_copies()->Written(weight) == nullptr) continue;
        ++n_copy;
        EXPECT_TRUE(at::equal(with.weight_copies()->Rounded(weight), weight.to(at::kBFloat16)))
            << name;
      }
      EXPECT_GE(n_copy, 9);

      // A copy that is stale is seen, so products read the copies.
      const at::Tensor ids_BT = SmallTokens(1, 20).to(with.compute().device);
      const at::Tensor before = with.Hidden(ids_BT);
      EXPECT_TRUE(at::equal(before, without.Hidden(ids_BT)));
      const auto matrix = std::ranges::find_if(with.parameters(), [&](const auto& one) {
        return one.second.dim() == 2 && !one.second.is_same(with.head().weight_VC) &&
               with.weight_copies()->Written(one.second) != nullptr;
      });
      with.weight_copies()->Rounded(matrix->second).zero_();
      EXPECT_FALSE(at::equal(with.Hidden(ids_BT), before)) << matrix->first;
    }
  }
}

// A block's input is added up before it where the block is computed again, and by its first norm
// elsewhere: the bits are the same, also those of the gradients.
TEST_P(DeviceTest, ActivationCheckpointingChangesNoBitOfATraining) {
  for (const char* architecture : {"gpt2", "llama", "gptj"}) {
    NetConfig config = SmallConfig("rope");
    config.model.d_model = 32;
    if (std::string(architecture) != "gpt2") config = WithBody(config, architecture);
    for (const char* precision : {"fp32", "bf16"}) {
      const auto weights = [&] { return InitialParameters(ParametersOf(config.model).value(), 7); };
      Transformer kept = Net(config, weights(), precision),
                  recomputed = Net(config, weights(), precision);
      recomputed.SetActivationCheckpointing(true);
      AdamW optimizer(OptimizerConfig(), kept), other(OptimizerConfig(), recomputed);
      EXPECT_TRUE(HaveTheSameBits(AfterSixSteps(kept, optimizer), AfterSixSteps(recomputed, other)))
          << architecture << " " << precision;
    }
  }
}

// kernels/cuda/adamw-inl.h rounds as LibTorch's operator does.
TEST_P(DeviceTest, OurOptimizerHasTheBitsOfLibTorchsOnAGpu) {
  if (std::string(GetParam()) != "cuda") GTEST_SKIP() << "the CPU's kernel rounds in another way";
  if (!OpenCompute("cuda", "fp32").value().gpu_kernels) GTEST_SKIP() << "no kernels for this GPU";
  NetConfig config = SmallConfig("cable");
  config.model.d_model = 32;
  for (const char* precision : {"fp32", "bf16"}) {
    for (const double grad_clip : {0.0, 1e-3, 1.0}) {
      const auto weights = [&] { return InitialParameters(ParametersOf(config.model).value(), 7); };
      Transformer ours = Net(config, weights(), precision),
                  theirs = Net(config, weights(), precision);
      ours.KeepWeightCopies();
      AdamW optimizer({.grad_clip = grad_clip}, ours);
      AdamW of_libtorch({.grad_clip = grad_clip}, theirs.parameters());
      EXPECT_TRUE(
          HaveTheSameBits(AfterSixSteps(ours, optimizer), AfterSixSteps(theirs, of_libtorch)))
          << precision << " " << grad_clip;
    }
  }
}

TEST_P(DeviceTest, Bf16LearnsOneBatchByHeart) {
  const NetConfig config = GoldenConfig("cable");
  const at::Tensor tokens = GoldenTensor("cable", "tokens");
  Transformer net = Net(config, InitialParameters(ParametersOf(config.model).value(), 1), "bf16");
  net.KeepWeightCopies();
  AdamW optimizer(OptimizerConfig(), net);

  const double before = Gradients(net, tokens);
  const double after = TrainSteps(net, optimizer, tokens, 60);

  // Knows nothing: each of the 11 tokens has probability 1 / 11.
  EXPECT_NEAR(before, std::log(11.0), 0.1);
  EXPECT_LT(after, 0.5 * before);
}

// Of each method, with the back-ends and precisions that it is trained with; more tokens than the
// 3,072 from which LibTorch sorts the ids of an embedding's gradient.
TEST_P(DeviceTest, AStepMakesTheHostWaitForNothing) {
  const bool is_cuda = std::string(GetParam()) == "cuda";
  if (is_cuda) {
    const NoWait no_wait(true);
    const at::Tensor x = at::arange(4, at::TensorOptions().dtype(at::kFloat).device(at::kCUDA));
    EXPECT_THROW(x.sum().item<float>(), c10::Error);
  }
  const at::Tensor tokens = SmallTokens(40, 101);
  const Samples samples = {.ids_BT = tokens.narrow(1, 0, 100).contiguous(),
                           .targets_BT = tokens.narrow(1, 1, 100).contiguous()};
  for (const std::string& method : PositionMethodNames()) {
    NetConfig config = SmallConfig(method, method == "learned" ? 100 : 0);
    config.model.d_model = 32;  // two heads of 16
    const std::vector<ParameterSpec> specs = ParametersOf(config.model).value();
    for (const AttentionBackend attention :
         {AttentionBackend::kReference, AttentionBackend::kFused}) {
      if (method == "cope" && attention == AttentionBackend::kFused) continue;
      for (const char* precision : {"fp32", "bf16"}) {
        // The results of four steps, each read when `n_late` more are queued.
        const auto results = [&](std::size_t n_late) {
          Transformer net = Transformer::Make(config, InitialParameters(specs, 7), attention,
                                              OpenCompute(GetParam(), precision).value())
                                .value();
          net.KeepWeightCopies();
          AdamW optimizer(OptimizerConfig(), net);
          SampleCopies copies(net.compute().device);
          const NoWait no_wait(is_cuda);
          std::vector<HostCopy> queued;
          std::vector<double> read;
          for (std::size_t t = 0; t < 4 + n_late; ++t) {
            if (t < 4) {
              TrainStep step(net, copies, 1.0 / 4000);
              step.Add(samples);
              queued.emplace_back(step.Finish(optimizer, 1e-2));
            }
            if (t < n_late) continue;
            const double* const of_step = queued[t - n_late].Wait().const_data_ptr<double>();
            read.insert(read.end(), of_step, of_step + 2);
          }
          return read;
        };
        const std::vector<double> at_once = results(0), late = results(1);
        EXPECT_EQ(late, at_once) << method << " " << precision;
      }
    }
  }
}

// Of more than 512 tokens, since a GPU skips no key of shorter sequences. The scores are small, so
// that the bound is tight. ALiBi falls by 1/16 for each token: so slowly that the bound moves bits.
TEST_P(DeviceTest, TrainingThatSkipsKeysRepeatsItsBitsNearThoseOfAllKeys) {
  constexpr std::int64_t kLong = 1024;
  const bool is_cuda = std::string(GetParam()) == "cuda";
  const at::Tensor tokens = SmallTokens(1, kLong + 1);
  const Samples samples = {.ids_BT = tokens.narrow(1, 0, kLong).contiguous(),
                           .targets_BT = tokens.narrow(1, 1, kLong).contiguous()};
  struct How {
    double skip_epsilon = 0.0;
    bool recomputes = false, records = false;
  };
  for (const char* method : {"alibi", "cable", "kerple"}) {
    NetConfig config = SmallConfig(method);
    config.model.d_model = 32;  // two heads of 16
    config.model.init_std = 0.05;
    for (const char* precision : {"fp32", "bf16"}) {
      SCOPED_TRACE(Str(method, " ", precision));
      // The losses and norms of four steps, then the weights.
      const auto train = [&](const How& how) {
        Transformer net =
            Transformer::Make(config, InitialParameters(ParametersOf(config.model).value(), 7),
                              AttentionBackend::kFused, OpenCompute(GetParam(), precision).value())
                .value();
        net.KeepWeightCopies();
        net.SetSkipEpsilon(how.skip_epsilon);
        net.SetActivationCheckpointing(how.recomputes);
        AdamW optimizer(OptimizerConfig(), net);
        SampleCopies copies(net.compute().device);
        std::optional<RecordedPasses> recorded;
        if (how.records) recorded.emplace(net, OpenRecorder(net.compute().device).value());
        std::vector<at::Tensor> all;
        {
          const NoWait no_wait(is_cuda && !how.records);
          for (int t = 0; t < 4; ++t) {
            TrainStep step(net, copies, 1.0 / kLong, recorded ? &*recorded : nullptr);
            step.Add(samples);
            all.push_back(step.Finish(optimizer, 1e-4).clone());
          }
        }
        for (const auto& [name, weight] : net.parameters()) all.push_back(weight.detach());
        return all;
      };
      const std::vector<at::Tensor> all_keys = train({}),
                                    skipping = train({.skip_epsilon = kInferenceSkipEpsilon});
      // As losses in fp32 and in bf16 beside each other's in train_step_test.cc.
      const double bound = std::string(precision) == "fp32" ? 1e-4 : 2e-2;
      for (std::size_t t = 0; t < 4; ++t) {
        EXPECT_LT(MaxDifference(skipping[t], all_keys[t]), bound * MaxAbs(all_keys[t])) << t;
      }
      const How skips_more = {.skip_epsilon = 1e-3};
      const std::vector<at::Tensor> expected = train(skips_more);
      if (std::string(method) == "alibi" && std::string(precision) == "fp32") {
        EXPECT_FALSE(HaveTheSameBits(expected, all_keys));
      }
      EXPECT_TRUE(HaveTheSameBits(train(skips_more), expected));
      EXPECT_TRUE(HaveTheSameBits(train({.skip_epsilon = 1e-3, .recomputes = true}), expected));
      if (!is_cuda) continue;
      EXPECT_TRUE(HaveTheSameBits(train({.skip_epsilon = 1e-3, .records = true}), expected));
    }
  }
}

TEST_P(DeviceTest, ResumedRunGoesOnBitForBit) {
  const NetConfig config = GoldenConfig("cable");
  const at::Tensor tokens = GoldenTensor("cable", "tokens");
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "checkpoint");
  Transformer net = Net(config, InitialParameters(ParametersOf(config.model).value(), 1), "fp32");
  net.KeepWeightCopies();
  AdamW optimizer(OptimizerConfig(), net);

  TrainSteps(net, optimizer, tokens, 3);
  ASSERT_TRUE(WriteCheckpoint(path, {.config = net.config(),
                                     .parameters = net.parameters(),
                                     .optimizer = optimizer.State(),
                                     .state = {{"step", 3}}})
                  .ok());
  const double undisturbed = TrainSteps(net, optimizer, tokens, 3);

  LoadedCheckpoint loaded = LoadCheckpoint(path, "").value();
  Transformer resumed = Net(loaded.model.config, std::move(loaded.model.parameters), "fp32");
  resumed.KeepWeightCopies();
  AdamW resumed_optimizer(OptimizerConfig(), resumed);
  ASSERT_TRUE(resumed_optimizer.Restore(loaded.optimizer, 3).ok());
  EXPECT_EQ(TrainSteps(resumed, resumed_optimizer, tokens, 3), undisturbed);
  for (const auto& [name, parameter] : net.parameters()) {
    EXPECT_TRUE(at::equal(parameter, resumed.parameters().at(name))) << name;
  }
}

TEST_P(DeviceTest, WritingBehindAPromptGivesTheLogitsOfTheOracle) {
  for (const char* name : kGoldenCases) {
    const at::Tensor tokens = GoldenTensor(name, "tokens");
    const at::Tensor expected = GoldenTensor(name, "logits");
    Transformer net = GoldenNet(name, "fp64");
    if (!net.config().model.causal) continue;
    const at::Tensor ids_BT = tokens.to(net.compute().device);
    const std::int64_t n = ids_BT.size(1);
    Decoder decoder = Decoder::Make(net, ids_BT.size(0), n).value();
    EXPECT_LT(MaxDifference(decoder.Feed(ids_BT.narrow(1, 0, 3)), expected.select(1, 2)), 1e-8)
        << name;
    for (std::int64_t t = 3; t < n; ++t) {
      EXPECT_LT(MaxDifference(decoder.Feed(ids_BT.narrow(1, t, 1)), expected.select(1, t)), 1e-8)
          << name << " token " << t;
    }
    Decoder in_cuts = Decoder::Make(net, ids_BT.size(0), n).value();
    in_cuts.Feed(ids_BT.narrow(1, 0, 2));
    in_cuts.Feed(ids_BT.narrow(1, 2, 3));
    EXPECT_LT(MaxDifference(in_cuts.Feed(ids_BT.narrow(1, 5, n - 5)), expected.select(1, n - 1)),
              1e-8)
        << name;
  }
}

// The fake GPU's tests (host_keys_test.cc) show that copies are in order. Here they are those of a
// GPU.
TEST_P(DeviceTest, KeysInTheHostsMemoryGiveTheSameBits) {
  if (GetParam() == std::string("cpu")) GTEST_SKIP() << "a CPU has no other memory";
  constexpr std::int64_t kTokens = 3000, kPart = 512;
  for (const char* method : {"rope", "cable", "t5"}) {
    NetConfig config = SmallConfig(method);
    config.model.n_layer = 5;
    config.model.d_model = 32;
    Transformer net = Net(config, InitialParameters(ParametersOf(config.model).value(), 7), "fp32");
    const at::Tensor ids_BT = SmallTokens(2, kTokens).to(net.compute().device);
    const auto here = net.NewState(2, kTokens + 3),
               in_host = net.NewState(2, kTokens + 3, KeysPlace::kHost);
    for (std::int64_t begin = 0; begin < kTokens; begin += 1500) {
      const at::Tensor part_BT = ids_BT.narrow(1, begin, 1500);
      EXPECT_TRUE(at::equal(net.ReadParts(part_BT, *here, kPart, 0),
                            net.ReadParts(part_BT, *in_host, kPart, 0)))
          << method << " from " << begin;
    }
    for (std::int64_t t = 0; t < 3; ++t) {
      const at::Tensor token_B1 = ids_BT.narrow(1, t, 1);
      EXPECT_TRUE(at::equal(net.ReadLast(token_B1, *here), net.ReadLast(token_B1, *in_host)))
          << method << " token " << t;
    }
  }
}

TEST_P(DeviceTest, PositionsOfEachSequenceGiveWhatTheyGiveOnTheCpu) {
  const at::Tensor t = at::arange(150, at::kLong);
  const at::Tensor positions = at::stack({t + (t >= 40) * 300, t * 2}).to(at::kInt);
  for (const char* method : {"rope", "xpos"}) {
    const NetConfig config = SmallConfig(method);
    const ParameterMap parameters = InitialParameters(ParametersOf(config.model).value(), 7);
    Transformer net = Net(config, parameters, "fp64");
    Transformer on_cpu = Transformer::Make(config, parameters, AttentionBackend::kReference,
                                           OpenCompute("cpu", "fp64").value())
                             .value();
    const auto read = [&](Transformer& by) {
      const at::NoGradGuard no_grad;
      const c10::Device device = by.compute().device;
      return by
          .Hidden({.ids_BT = SmallTokens(2, 150).to(device),
                   .position_ids_BT = positions.to(device),
                   .n_positions = 500})
          .to(at::kCPU);
    };
    EXPECT_LT(MaxDifference(read(net), read(on_cpu)), 1e-10) << method;
  }
}

// fp64: no draw of these lies within rounding of a border.
TEST_P(DeviceTest, GeneratedTextsAreThoseOfTheCpuForEachMethod) {
  constexpr std::int64_t kTokens = 20;
  for (const std::string& method : PositionMethodNames()) {
    NetConfig config = SmallConfig(method, method == "learned" ? kTokens : 0);
    const ParameterMap parameters = InitialParameters(ParametersOf(config.model).value(), 7);
    Transformer net = Net(config, parameters, "fp64");
    Transformer on_cpu = Transformer::Make(config, parameters, AttentionBackend::kReference,
                                           OpenCompute("cpu", "fp64").value())
                             .value();
    for (const double temperature : {0.0, 1.0}) {
      const Generation generation = {.new_tokens = kTokens - 6,
                                     .sampling = {.temperature = temperature}};
      const Generated here = Generate(net, SmallTokens(2, 7), generation).value();
      const Generated there = Generate(on_cpu, SmallTokens(2, 7), generation).value();
      EXPECT_TRUE(at::equal(here.tokens_BT, there.tokens_BT)) << method;
      EXPECT_LT(MaxDifference(here.logits_BNV, there.logits_BNV), 1e-8) << method;
    }
  }
}

TEST_P(DeviceTest, AStepUnderTheStopwatchTakesTimeAndMemory) {
  const Transformer net = GoldenNet("cable", "fp32");
  std::int64_t n_weights = 0;
  for (const auto& [name, tensor] : net.parameters()) n_weights += tensor.numel();
  NetThroughput probe(net);
  for (const auto direction : {ProbeShape::Direction::kTrainStep, ProbeShape::Direction::kForward,
                               ProbeShape::Direction::kGenerate}) {
    for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
      ASSERT_TRUE(probe
                      .Prepare({.direction = direction,
                                .batch = 2,
                                .context_length = 16,
                                .new_tokens = 4,
                                .precision = precision})
                      .ok());
      probe.ResetPeak();
      for (int i = 0; i < 3; ++i) EXPECT_GT(probe.Step().value(), 0.0);
      const PeakMemory peak = probe.Peak();
      EXPECT_GE(peak.allocated_bytes, 4 * n_weights);  // its own copy, in fp32
      EXPECT_EQ(peak.source, std::string(GetParam()) + "_allocator");
      EXPECT_EQ(peak.reserved_bytes > 0, std::string(GetParam()) == "cuda");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, DeviceTest, testing::Values("cpu", "cuda"),
                         [](const auto& given) { return std::string(given.param); });

}  // namespace
}  // namespace longrun
