// A train step on a model with subnormal weights, under biases that make subnormal probabilities:
// flushed, no thread meets one, in whatever library; kept, some do
// (tests/kernels/subnormal_traces.h counts them).
#include "base/subnormals.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/str.h"
#include "model/net/adamw.h"
#include "model/net/device.h"
#include "model/net/gradient.h"
#include "model/net/parallel.h"
#include "model/position/method.h"
#include "tests/kernels/subnormal_traces.h"
#include "tests/model/net/small_model.h"

namespace longrun {
namespace {

constexpr std::int64_t kBatch = 2, kLength = 256;

class NetSubnormalsTest : public ::testing::Test {
 protected:
  ~NetSubnormalsTest() override { FixNumerics({.subnormals = Subnormals::kKept}, at::kCPU); }

  // Of the threads of LibTorch's pool, in no order.
  static std::vector<Subnormals> ModesOfPool() {
    std::mutex mutex;
    std::vector<Subnormals> modes;
    OnEachTorchThread([&] {
      const std::lock_guard lock(mutex);
      modes.push_back(SubnormalsOfThread());
    });
    return modes;
  }
};

TEST_F(NetSubnormalsTest, EveryThreadOfAPoolThatRunsAlreadyGetsTheMode) {
  for (const Subnormals mode : {Subnormals::kFlushed, Subnormals::kKept, Subnormals::kFlushed}) {
    FixNumerics({.threads = 3, .subnormals = mode}, at::kCPU);
    EXPECT_EQ(ModesOfPool(), std::vector<Subnormals>(3, mode));
  }
}

TEST_F(NetSubnormalsTest, ThreadsThatStartLaterHaveTheMode) {
  // Two, since libgomp then ends what other tests have left in its pool; a call with one thread
  // would leave it there.
  FixNumerics({.threads = 2, .subnormals = Subnormals::kFlushed}, at::kCPU);
  at::set_num_threads(5);  // as a library may ask for
  EXPECT_EQ(ModesOfPool(), std::vector<Subnormals>(5, Subnormals::kFlushed));
  Subnormals of_thread = Subnormals::kKept;
  std::thread([&of_thread] { of_thread = SubnormalsOfThread(); }).join();
  EXPECT_EQ(of_thread, Subnormals::kFlushed);
}

// How a step is carried out.
struct Way {
  AttentionBackend backend;
  bool own_operators;
  MatrixPath path;
  std::string precision = "fp32";
};

// A model of which one weight in five is subnormal, as pruning or long decay leaves them.
Transformer Net(const std::string& method, const Way& way) {
  NetConfig config = SmallConfig(method, method == "learned" ? kLength : 0);
  config.model.d_model = 32;
  config.model.d_ff = 128;
  config.model.init_std = 0.05;
  ParameterMap parameters = InitialParameters(ParametersOf(config.model).value(), 7);
  for (auto& [name, parameter] : parameters) {
    at::Tensor dense = parameter.contiguous();
    float* const value = dense.data_ptr<float>();
    for (std::int64_t i = 0; i < dense.numel(); i += 5) value[i] = std::copysign(1e-39F, value[i]);
    parameter = dense;
  }
  Compute compute = OpenCompute("cpu", way.precision).value();
  compute.path = way.path;
  if (!way.own_operators) compute.kernels.reset();
  return Transformer::Make(config, std::move(parameters), way.backend, compute).value();
}

// Threads on which an operation of the step had a subnormal operand.
std::int64_t ThreadsThatMet(const std::string& method, const Way& way, std::int64_t n_threads,
                            Subnormals subnormals) {
  FixNumerics({.threads = n_threads, .subnormals = Subnormals::kKept}, at::kCPU);
  Transformer net = Net(method, way);
  const at::Tensor tokens = SmallTokens(kBatch, kLength + 1);
  AdamW optimizer(OptimizerConfig(), net.parameters(), net.compute().kernels);
  FixNumerics({.threads = n_threads, .subnormals = subnormals}, at::kCPU);
  OnEachTorchThread([] { testing::ForgetOperands(); });
  ClearGradients(net);
  AddGradients(net, tokens.narrow(1, 0, kLength), tokens.narrow(1, 1, kLength),
               1.0 / (kBatch * kLength));
  optimizer.ClipGradients();
  optimizer.Step(1e-3);
  std::atomic<std::int64_t> n_met = 0;
  OnEachTorchThread([&] { n_met += testing::HadSubnormalOperand() ? 1 : 0; });
  return n_met;
}

TEST_F(NetSubnormalsTest, ATrainStepOfEachMethodMeetsNone) {
  const std::vector<Way> ways = {
      {AttentionBackend::kFused, true, MatrixPath::kAten},
      {AttentionBackend::kFused, true, MatrixPath::kOneDnn},
      {AttentionBackend::kReference, false, MatrixPath::kAten},
      {AttentionBackend::kFused, true, MatrixPath::kAten, "bf16"},
  };
  for (const PositionMethod* method : PositionMethods()) {
    for (const Way& way : ways) {
      const std::string name(method->name);
      if (way.backend == AttentionBackend::kFused && name == "cope") continue;  // it has none
      SCOPED_TRACE(Str(name, ", way ", &way - ways.data()));
      EXPECT_EQ(ThreadsThatMet(name, way, 1, Subnormals::kFlushed), 0);
      EXPECT_EQ(ThreadsThatMet(name, way, 3, Subnormals::kFlushed), 0);
      if (testing::kNotesOperands) {
        EXPECT_GT(ThreadsThatMet(name, way, 1, Subnormals::kKept), 0)
            << "the weights make no subnormal numbers";
      }
    }
  }
}

}  // namespace
}  // namespace longrun
