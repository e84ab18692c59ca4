// A training step, as work that is queued on a device: on a GPU the host waits for none of it.
// Counted on a device that notes what would make a GPU's host wait (fake_gpu.h).
#include "model/net/train_step.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/cross_entropy.h"
#include "kernels/cuda_library.h"
#include "model/net/sample_copies.h"
#include "model/net/to_device.h"
#include "tests/model/net/fake_gpu.h"
#include "tests/model/net/small_model.h"

namespace longrun {
namespace {

using testing::FakeGpu;
using testing::TakeFakeGpuLog;
using ::testing::TestWithParam;
using ::testing::ValuesIn;

constexpr std::int64_t kLength = 150;  // two blocks of queries

Compute OnFakeGpu() {
  Compute compute;
  compute.device = FakeGpu();
  return compute;
}

Transformer NetOn(const NetConfig& config, const Compute& compute,
                  AttentionBackend attention = AttentionBackend::kReference) {
  const std::vector<ParameterSpec> specs = ParametersOf(config.model).value();
  return Transformer::Make(config, InitialParameters(specs, 7), attention, compute).value();
}

Samples SomeSamples() {
  const at::Tensor tokens = SmallTokens(2, kLength + 1);
  return {.ids_BT = tokens.narrow(1, 0, kLength).contiguous(),
          .targets_BT = tokens.narrow(1, 1, kLength).contiguous()};
}

// The results of three steps, each of two passes, all queued before one is read.
template <typename Given>
at::Tensor TrainWith(AdamW& optimizer, Transformer& net, const Given& samples, double lr) {
  SampleCopies copies(net.compute().device);
  std::vector<HostCopy> results;
  for (int t = 0; t < 3; ++t) {
    TrainStep step(net, copies, 1.0 / (4 * kLength));
    step.Add(samples);
    step.Add(samples);
    results.emplace_back(step.Finish(optimizer, lr));
  }
  std::vector<at::Tensor> all;
  for (const HostCopy& of_step : results) all.push_back(of_step.Wait());
  return at::cat(all);
}
template <typename Given>
at::Tensor Train(Transformer& net, const Given& samples, double lr = 1e-2) {
  AdamW optimizer(OptimizerConfig(), net.parameters());
  return TrainWith(optimizer, net, samples, lr);
}

at::Tensor Weights(const Transformer& net) {
  std::vector<at::Tensor> all;
  for (const auto& [name, parameter] : net.parameters()) {
    all.push_back(parameter.detach().to(at::kCPU).flatten());
  }
  return at::cat(all);
}

// What the device notes of these steps if the host waits for nothing but their results. The
// optimizer updates two groups of parameters.
const std::vector<std::string> kNoWait = {"update", "update", "update", "update", "update",
                                          "update", "read",   "read",   "read"};

template <typename Given>
void ExpectNoWait(const NetConfig& config, const Given& samples, bool recomputes = false) {
  for (const c10::ScalarType product : {at::kFloat, at::kBFloat16}) {
    Transformer net = NetOn(config, {.device = FakeGpu(), .product = product});
    net.SetActivationCheckpointing(recomputes);
    TakeFakeGpuLog();
    Train(net, samples);
    EXPECT_EQ(TakeFakeGpuLog(), kNoWait) << product;
  }
  // Both compute with the same operators, except where the host would have to wait. Their sums have
  // about 10^4 terms of size 1, in double: 10^4 2^-53 = 1e-12. The updates enlarge this.
  const Compute exact = {.dtype = at::kDouble, .product = at::kDouble};
  Compute here = exact;
  here.device = FakeGpu();
  Transformer net = NetOn(config, here), on_cpu = NetOn(config, exact);
  net.SetActivationCheckpointing(recomputes);
  const at::Tensor results = Train(net, samples), expected = Train(on_cpu, samples);
  EXPECT_LT((results - expected).abs().max().item<double>(), 1e-11);
  EXPECT_LT((Weights(net) - Weights(on_cpu)).abs().max().item<double>(), 1e-9);
}

// The same with fused attention: on the fake GPU, the CPU's kernel gets what a GPU's would get.
template <typename Given>
void ExpectNoWaitWithFused(NetConfig config, const Given& samples, double skip_epsilon = 0.0) {
  config.model.d_model = 32;  // two heads of 16
  Transformer net = NetOn(config, OnFakeGpu(), AttentionBackend::kFused);
  Transformer on_cpu = NetOn(config, {}, AttentionBackend::kFused);
  net.SetSkipEpsilon(skip_epsilon);
  on_cpu.SetSkipEpsilon(skip_epsilon);
  TakeFakeGpuLog();
  // With larger rates, updates enlarge rounding errors: with 1e-2, a norm of cable in fp32 is wrong
  // by 1e-4 to 1e-3, whatever computes it.
  constexpr double kRate = 1e-4;
  const at::Tensor results = Train(net, samples, kRate);
  EXPECT_EQ(TakeFakeGpuLog(), kNoWait);
  const at::Tensor expected = Train(on_cpu, samples, kRate);
  // In fp32: 10^4 2^-24 = 6e-4 of the largest, but rounding errors hardly ever have one sign.
  EXPECT_LT((results - expected).abs().max().item<double>(), 1e-4);
  // The losses of the three steps: a missing update would be noticed.
  EXPECT_GT((results[0] - results[2]).item<double>(), 1e-3);
  EXPECT_GT((results[2] - results[4]).item<double>(), 1e-3);
}

class StepOfMethodTest : public TestWithParam<std::string> {};

TEST_P(StepOfMethodTest, TheHostWaitsOnlyForTheResults) {
  ExpectNoWait(SmallConfig(GetParam(), GetParam() == "learned" ? kLength : 0), SomeSamples());
}

TEST_P(StepOfMethodTest, TheHostWaitsForNothingElseWhenBlocksAreComputedAgain) {
  ExpectNoWait(SmallConfig(GetParam(), GetParam() == "learned" ? kLength : 0), SomeSamples(),
               /*recomputes=*/true);
}

TEST_P(StepOfMethodTest, TheHostWaitsForNothingElseWithFusedAttention) {
  if (GetParam() == "cope") GTEST_SKIP() << "no fused attention has it";
  ExpectNoWaitWithFused(SmallConfig(GetParam(), GetParam() == "learned" ? kLength : 0),
                        SomeSamples());
}

TEST(SkippingStepTest, TheHostWaitsForNothingElseWhenKeysAreSkipped) {
  for (const char* method : {"alibi", "cable", "kerple"}) {
    SCOPED_TRACE(method);
    ExpectNoWaitWithFused(SmallConfig(method), SomeSamples(), 1e-3);
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, StepOfMethodTest, ValuesIn(PositionMethodNames()),
                         [](const auto& given) { return given.param; });

#ifdef LONGRUN_CUDA_ON_HOST

// Our kernels over rows get what they would get on a GPU, and compute it by the same code, in which
// each thread of a block is a fibre. So the samples are short.
constexpr std::int64_t kShortLength = 12;
Samples ShortSamples() {
  const at::Tensor tokens = SmallTokens(2, kShortLength + 1);
  return {.ids_BT = tokens.narrow(1, 0, kShortLength).contiguous(),
          .targets_BT = tokens.narrow(1, 1, kShortLength).contiguous()};
}

Compute WithOurKernels(c10::ScalarType product = at::kFloat) {
  static const Status opened = OpenCudaLibrary(LONGRUN_CUDA_ON_HOST).status();
  EXPECT_TRUE(opened.ok()) << opened.message();
  return {.device = FakeGpu(), .product = product, .gpu_kernels = true};
}

// Three steps, as Train, with our AdamW.
template <typename Given>
at::Tensor TrainByOurKernels(Transformer& net, const Given& samples, double lr) {
  AdamW optimizer(OptimizerConfig(), net);
  return TrainWith(optimizer, net, samples, lr);
}

template <typename Given>
void ExpectNoWaitByOurKernels(const NetConfig& config, const Given& samples,
                              bool recomputes = false) {
  constexpr double kRate = 1e-4;
  const Compute on_cpu = OpenCompute("cpu", "fp32").value();
  Transformer expected_net = NetOn(config, on_cpu);
  const at::Tensor expected = TrainByOurKernels(expected_net, samples, kRate);
  for (const c10::ScalarType product : {at::kFloat, at::kBFloat16}) {
    SCOPED_TRACE(product);
    Transformer net = NetOn(config, WithOurKernels(product));
    net.SetActivationCheckpointing(recomputes);
    TakeFakeGpuLog();
    const at::Tensor results = TrainByOurKernels(net, samples, kRate);
    EXPECT_EQ(TakeFakeGpuLog(), (std::vector<std::string>{"read", "read", "read"}));
    // As with fused attention; products in bf16 have 8 bits.
    const double error = product == at::kFloat ? 1e-4 : 2e-2;
    EXPECT_LT(((results - expected).abs() / expected.abs().clamp_min(1)).max().item<double>(),
              error);
    // Of losses of about 0.2: a missing update would be noticed here, or above.
    EXPECT_GT((results[0] - results[4]).item<double>(), 2e-4);
  }
}

TEST_P(StepOfMethodTest, TheHostWaitsForNothingElseWithOurKernels) {
  const NetConfig config = SmallConfig(GetParam(), GetParam() == "learned" ? kShortLength : 0);
  ExpectNoWaitByOurKernels(config, ShortSamples(), /*recomputes=*/GetParam() == "cable");
}

TEST(OurKernelsTest, TheHostDoesNotWaitForOtherBodies) {
  for (const char* architecture : {"llama", "qwen2", "gpt_neox"}) {
    SCOPED_TRACE(architecture);
    ExpectNoWaitByOurKernels(WithBody(SmallConfig("rope"), architecture), ShortSamples());
  }
}

TEST(OurKernelsTest, TheHostDoesNotWaitForDocumentsWithPadding) {
  Samples samples = ShortSamples();
  samples.targets_BT.narrow(1, kShortLength - 3, 3).fill_(kIgnoredTarget);
  ExpectNoWaitByOurKernels(SmallConfig("cable"), samples);
}

#endif  // LONGRUN_CUDA_ON_HOST

TEST(TrainStepTest, TheHostDoesNotWaitUnderOtherSettingsOfAMethod) {
  for (const Json& position : {Json({{"method", "kerple"}, {"variant", "power"}}),
                               Json({{"method", "kerple"}, {"share_layers", true}}),
                               Json({{"method", "t5"}, {"share_layers", false}})}) {
    SCOPED_TRACE(position.dump());
    ExpectNoWait(SmallConfig(position), SomeSamples());
  }
  ExpectNoWait(SmallEncoder("t5"), SomeSamples());
  ExpectNoWaitWithFused(SmallEncoder("t5"), SomeSamples());
}

TEST(TrainStepTest, TheHostDoesNotWaitForOtherBodies) {
  for (const char* architecture : {"llama", "qwen2", "gpt_neox"}) {
    SCOPED_TRACE(architecture);
    ExpectNoWait(WithBody(SmallConfig("rope"), architecture), SomeSamples());
  }
}

TEST(TrainStepTest, TheHostDoesNotWaitForPositionsOfASchedule) {
  Samples samples = SomeSamples();
  const at::Tensor t = at::arange(kLength, at::kInt);
  samples.position_ids_BT = at::stack({t + (t >= 40) * 300, t * 2}).to(at::kInt);
  samples.n_positions = 500;
  for (const char* method : {"rope", "xpos"}) {
    SCOPED_TRACE(method);
    ExpectNoWait(SmallConfig(method), samples);
    ExpectNoWaitWithFused(SmallConfig(method), samples);
  }
  // The fused kernel's table has rows only for the positions of the batch.
  samples.n_positions = 1 << 20;
  samples.position_ids_BT.select(1, kLength - 1).fill_((1 << 20) - 1);
  ExpectNoWaitWithFused(SmallConfig("rope"), samples);
}

// On a GPU, positions are recognised as the same tensor, unless it has changed.
TEST(TrainStepTest, PositionsThatChangeInPlaceAreSeen) {
  const Compute exact = {.device = FakeGpu(), .dtype = at::kDouble, .product = at::kDouble};
  Transformer net = NetOn(SmallConfig("rope"), exact), other = NetOn(SmallConfig("rope"), exact);
  const at::NoGradGuard no_grad;
  const auto read = [](Transformer& by, const at::Tensor& position_ids_BT) {
    return by
        .Hidden({.ids_BT = ToDevice(SmallTokens(1, kLength), FakeGpu()),
                 .position_ids_BT = position_ids_BT,
                 .n_positions = 500})
        .to(at::kCPU);
  };
  const at::Tensor t = at::arange(kLength, at::kInt).unsqueeze(0);
  const at::Tensor positions = ToDevice(t, FakeGpu());
  const at::Tensor first = read(net, positions);
  positions.mul_(2);
  const at::Tensor second = read(net, positions);

  EXPECT_FALSE(at::equal(first, second));
  EXPECT_TRUE(at::equal(second, read(other, ToDevice(t * 2, FakeGpu()))));
}

TEST(TrainStepTest, TheHostDoesNotWaitForDocumentsWithPadding) {
  Samples samples = SomeSamples();
  samples.targets_BT.narrow(1, kLength - 30, 30).fill_(kIgnoredTarget);
  ExpectNoWait(SmallConfig("cable"), samples);
}

TEST(TrainStepTest, TheHostDoesNotWaitForAMaskedLanguageModel) {
  std::vector<MaskedSequence> sequences;
  for (std::int64_t b = 0; b < 2; ++b) {
    MaskedSequence sequence;
    for (std::int32_t i = 0; i < kLength; ++i) sequence.tokens.push_back(i % 13);
    for (std::int32_t i = 3; i < kLength; i += 7 + static_cast<std::int32_t>(b)) {
      sequence.positions.push_back(i);
      sequence.targets.push_back(i % 5);
    }
    sequences.push_back(sequence);
  }
  ExpectNoWait(SmallEncoder("t5"), ToBatch(sequences));
}

TEST(TrainStepTest, AStepWithoutALossChangesNoWeight) {
  std::vector<Compute> computes = {OpenCompute("cpu", "fp32").value(), Compute{}, OnFakeGpu()};
#ifdef LONGRUN_CUDA_ON_HOST
  computes.push_back(WithOurKernels());
#endif
  for (const Compute& compute : computes) {
    Transformer net = NetOn(SmallConfig("cable"), compute);
    AdamW optimizer(OptimizerConfig(), net);
    SampleCopies copies(compute.device);
    const auto step = [&] {
      TrainStep queued(net, copies, 1.0 / (2 * kLength));
      queued.Add(SomeSamples());
      return HostCopy(queued.Finish(optimizer, 1e-2)).Wait();
    };
    const auto bits = [&] { return Weights(net).view(at::kInt); };
    const at::Tensor start = bits();
    EXPECT_TRUE(step().isfinite().all().item<bool>());
    EXPECT_FALSE(at::equal(bits(), start));

    net.parameters().at("transformer.wte.weight").detach()[3] = std::nan("");
    const at::Tensor before = bits();
    EXPECT_FALSE(step().isfinite().any().item<bool>());
    EXPECT_TRUE(at::equal(bits(), before));
  }
}

// ---- recorded passes ----------------------------------------------------------------------------

// Samples of a pass, other ones each time.
Samples SamplesOf(std::int64_t pass, std::int64_t n_sequence = 2) {
  const at::Tensor tokens = (SmallTokens(n_sequence, kLength + 1) + pass) % 13;
  return {.ids_BT = tokens.narrow(1, 0, kLength).contiguous(),
          .targets_BT = tokens.narrow(1, 1, kLength).contiguous()};
}

constexpr int kSteps = 5;
constexpr int kPasses = 3;

struct Trained {
  at::Tensor results, weights;
  std::vector<std::string> log;  // what the device noted of the passes
};

std::vector<std::string> TakePassLog() {
  std::vector<std::string> log = TakeFakeGpuLog();
  std::erase_if(log, [](const std::string& what) { return what == "update" || what == "read"; });
  return log;
}

// `samples` gives those of pass i of step t; `before` is called before each step.
template <typename SamplesFunction>
Trained TrainBy(
    RecordedPasses* recorded, Transformer& net, const SamplesFunction& samples,
    const std::function<void(int)>& before = [](int) {}) {
  AdamW optimizer(OptimizerConfig(), net.parameters());
  SampleCopies copies(net.compute().device);
  std::vector<HostCopy> results;
  TakeFakeGpuLog();
  for (int t = 0; t < kSteps; ++t) {
    before(t);
    TrainStep step(net, copies, 1.0 / (2 * kPasses * kLength), recorded);
    for (int i = 0; i < kPasses; ++i) step.Add(samples(t, i));
    results.emplace_back(step.Finish(optimizer, 1e-2));
  }
  std::vector<at::Tensor> all;
  for (const HostCopy& of_step : results) all.push_back(of_step.Wait());
  std::vector<std::string> log = TakePassLog();
  return {.results = at::cat(all), .weights = Weights(net), .log = std::move(log)};
}

// Two recordings, made in the second step; from then on each pass is a replay.
const std::vector<std::string> kRecordedTwice = [] {
  std::vector<std::string> log = {"record", "replay", "record"};
  log.insert(log.end(), (kSteps - 1) * kPasses - 1, "replay");
  return log;
}();

template <typename SamplesFunction>
void ExpectTheSameBitsIfRecorded(const NetConfig& config, const SamplesFunction& samples,
                                 bool recomputes = false) {
  for (const c10::ScalarType product : {at::kFloat, at::kBFloat16}) {
    SCOPED_TRACE(product);
    const Compute compute = {.device = FakeGpu(), .product = product};
    Transformer net = NetOn(config, compute), other = NetOn(config, compute);
    for (Transformer* const each : {&net, &other}) {
      each->SetActivationCheckpointing(recomputes);
      each->KeepWeightCopies();
    }
    const Trained expected = TrainBy(nullptr, other, samples);
    RecordedPasses recorded(net, testing::FakeGpuRecorder());
    const Trained trained = TrainBy(&recorded, net, samples);
    EXPECT_EQ(trained.log, kRecordedTwice);
    EXPECT_TRUE(at::equal(trained.results, expected.results));
    EXPECT_TRUE(at::equal(trained.weights.view(at::kInt), expected.weights.view(at::kInt)));
  }
}

Samples EachPass(int t, int i) { return SamplesOf(t * kPasses + i); }

TEST_P(StepOfMethodTest, RecordedPassesHaveTheSameBits) {
  const NetConfig config = SmallConfig(GetParam(), GetParam() == "learned" ? kLength : 0);
  ExpectTheSameBitsIfRecorded(config, EachPass);
  ExpectTheSameBitsIfRecorded(config, EachPass, /*recomputes=*/true);
}

TEST(RecordedPassesTest, OtherBodiesHaveTheSameBits) {
  for (const char* architecture : {"llama", "qwen2", "gpt_neox"}) {
    SCOPED_TRACE(architecture);
    ExpectTheSameBitsIfRecorded(WithBody(SmallConfig("rope"), architecture), EachPass);
  }
}

TEST(RecordedPassesTest, PositionsOfAScheduleAreThoseOfThePass) {
  for (const std::int64_t n_positions : {std::int64_t{500}, std::int64_t{1} << 20}) {
    SCOPED_TRACE(n_positions);
    const auto samples = [&](int t, int i) {
      Samples of_pass = EachPass(t, i);
      const at::Tensor at = at::arange(kLength, at::kInt);
      of_pass.position_ids_BT = at::stack({at + (at >= 20 * i) * 300, at * 2 + t}).to(at::kInt);
      of_pass.n_positions = n_positions;
      return of_pass;
    };
    ExpectTheSameBitsIfRecorded(SmallConfig("rope"), samples);
  }
}

// Of each pass, and of each step, the samples arrive while the one before computes: it reads each
// weight. The first two passes make room for samples.
TEST(TrainStepTest, SamplesArriveWhileThePassBeforeComputes) {
  for (const bool is_recorded : {false, true}) {
    SCOPED_TRACE(is_recorded);
    Transformer net = NetOn(SmallConfig("cable"), OnFakeGpu());
    RecordedPasses recorded(net, testing::FakeGpuRecorder());
    testing::TakeFakeGpuLeads();
    const Trained trained = TrainBy(is_recorded ? &recorded : nullptr, net, EachPass);
    EXPECT_EQ(trained.log, is_recorded ? kRecordedTwice : std::vector<std::string>());
    const std::vector<std::size_t> leads = testing::TakeFakeGpuLeads();
    ASSERT_EQ(leads.size(), 2U * kSteps * kPasses);  // ids and targets
    for (std::size_t i = 2 * 2; i < leads.size(); ++i) {
      EXPECT_GE(leads[i], net.parameters().size()) << i;
    }
  }
}

// The last micro-batch of each step is smaller, which makes a third recording. In the fourth step
// all are, which makes none.
TEST(RecordedPassesTest, TheSmallerLastPassIsRecordedAndStepsOfOtherShapesAreNot) {
  const Compute compute = {.device = FakeGpu()};
  const auto samples = [](int t, int i) {
    return SamplesOf(t * kPasses + i, i == 2 || t == 3 ? 1 : 2);
  };
  for (const char* method : {"cable", "rope", "t5"}) {
    SCOPED_TRACE(method);
    Transformer net = NetOn(SmallConfig(method), compute);
    Transformer other = NetOn(SmallConfig(method), compute);
    const Trained expected = TrainBy(nullptr, other, samples);
    RecordedPasses recorded(net, testing::FakeGpuRecorder());
    const Trained trained = TrainBy(&recorded, net, samples);
    std::vector<std::string> log = {"record", "replay", "record", "replay", "record", "replay"};
    log.insert(log.end(), 2 * kPasses, "replay");
    EXPECT_EQ(trained.log, log);
    EXPECT_TRUE(at::equal(trained.results, expected.results));
    EXPECT_TRUE(at::equal(trained.weights, expected.weights));
  }
}

// Steps whose number of targets differs, as with documents, are never recorded.
TEST(RecordedPassesTest, StepsOfOtherWeightsAreNotRecorded) {
  Transformer net = NetOn(SmallConfig("cable"), OnFakeGpu());
  RecordedPasses recorded(net, testing::FakeGpuRecorder());
  TakeFakeGpuLog();
  for (int t = 0; t < 3; ++t) {
    EXPECT_FALSE(recorded.Add(SomeSamples(), 1.0 / (t + 1), true));
    EXPECT_FALSE(recorded.Add(SomeSamples(), 1.0 / (t + 1), false));
  }
  EXPECT_TRUE(TakePassLog().empty());
}

// A validation reads longer sequences, for which a network makes other tables. It also rounds the
// weights, so that the next pass finds rounded copies.
TEST(RecordedPassesTest, AfterAValidationPassesAreRecordedAgain) {
  const Compute compute = {.device = FakeGpu(), .product = at::kBFloat16};
  for (const std::string& method : PositionMethodNames()) {
    if (method == "learned") continue;  // has no longer sequences
    SCOPED_TRACE(method);
    Transformer net = NetOn(SmallConfig(method), compute);
    Transformer other = NetOn(SmallConfig(method), compute);
    const auto validates = [&](Transformer& by, int t) {
      if (t != 2) return;
      const at::NoGradGuard no_grad;
      by.RequireGradients(false);
      by.Hidden(ToDevice(SmallTokens(1, 2 * kLength), FakeGpu()));
    };
    for (Transformer* const each : {&net, &other}) each->KeepWeightCopies();
    const Trained expected = TrainBy(nullptr, other, EachPass, [&](int t) { validates(other, t); });
    RecordedPasses recorded(net, testing::FakeGpuRecorder());
    const Trained trained = TrainBy(&recorded, net, EachPass, [&](int t) {
      if (t == 2) recorded.Forget();
      validates(net, t);
    });
    EXPECT_EQ(trained.log, (std::vector<std::string>{
                               "record", "replay", "record", "replay", "replay", "record", "replay",
                               "record", "replay", "replay", "replay", "replay", "replay"}));
    EXPECT_TRUE(at::equal(trained.results, expected.results));
    EXPECT_TRUE(at::equal(trained.weights.view(at::kInt), expected.weights.view(at::kInt)));
  }
}

TEST(RecorderTest, WithoutItsModuleAnErrorSaysWhatToDo) {
  const Status status = OpenRecorder(FakeGpu()).status();
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_NE(status.message().find("liblongrun_cuda_graphs.so"), std::string::npos);
  EXPECT_NE(status.message().find("LONGRUN_GPU_GRAPHS"), std::string::npos);
}

// What the tests of recorded passes rely on.
TEST(FakeGpuTest, ARecordingDoesNothingBeforeItsReplay) {
  const at::Tensor x = ToDevice(at::arange(4, at::kFloat), FakeGpu());
  const at::Tensor sum = ToDevice(at::zeros({}, at::kFloat), FakeGpu());
  at::Tensor made;
  TakeFakeGpuLog();
  const std::unique_ptr<Recording> recording = testing::FakeGpuRecorder()->Record([&] {
    made = x * 2;
    sum.add_(made.sum());
  });
  EXPECT_TRUE(made.isnan().all().item<bool>());
  EXPECT_EQ(sum.item<float>(), 0);
  x.add_(1);
  recording->Replay();
  recording->Replay();
  EXPECT_EQ(sum.item<float>(), 2 * (1 + 2 + 3 + 4) * 2);
  EXPECT_TRUE(at::equal(made.to(at::kCPU), at::arange(1, 5, at::kFloat) * 2));
}

TEST(FakeGpuTest, WhatARecordingMayNotRelyOnIsNoted) {
  at::Tensor x = ToDevice(at::arange(4, at::kFloat), FakeGpu());
  at::Tensor made;
  std::unique_ptr<Recording> recording = testing::FakeGpuRecorder()->Record([&] {
    made = x * 2;
    made.add_(ToDevice(at::ones({4}), FakeGpu()));
  });
  TakeFakeGpuLog();
  x.reset();
  EXPECT_EQ(TakeFakeGpuLog(), std::vector<std::string>{"freed under a recording"});
  made.reset();
  recording.reset();
  EXPECT_TRUE(TakeFakeGpuLog().empty());

  recording =
      testing::FakeGpuRecorder()->Record([&] { made = ToDevice(at::ones({4}), FakeGpu()) * 2; });
  const std::vector<std::string> log = TakeFakeGpuLog();
  EXPECT_EQ(log, (std::vector<std::string>{"record", "recorded copy from the host"}));
}

// The device notes what the tests above rely on.
TEST(FakeGpuTest, WhatMakesTheHostWaitIsNoted) {
  const at::Tensor host = at::arange(6, at::kFloat);
  const at::Tensor here = ToDevice(host, FakeGpu());
  TakeFakeGpuLog();

  here.sum().item<float>();
  at::nonzero(here);
  here.masked_select(here.gt(2.0));
  at::equal(here, here);
  here.index({here.gt(2.0)});
  host.to(here.device());
  host.to(here.device(), at::kFloat, /*non_blocking=*/true);  // not from pinned memory
  here.to(at::kCPU);

  std::vector<std::string> waits = TakeFakeGpuLog();
  EXPECT_EQ(waits,
            (std::vector<std::string>{"wait: aten::_local_scalar_dense", "wait: aten::nonzero",
                                      "wait: aten::masked_select", "wait: aten::equal",
                                      "wait: aten::nonzero", "wait: copy from the host",
                                      "wait: copy from the host", "wait: copy to the host"}));
  EXPECT_TRUE(at::equal(here.to(at::kCPU), host));
}

TEST(HostCopyTest, NumbersArriveWhenTheHostWaitsForThem) {
  const at::Tensor x = ToDevice(at::arange(6, at::kFloat), FakeGpu());
  TakeFakeGpuLog();
  const HostCopy copy(x);
  EXPECT_TRUE(TakeFakeGpuLog().empty());
  x.zero_();  // queued after the copy

  EXPECT_TRUE(at::equal(copy.Wait(), at::arange(6, at::kFloat)));
  EXPECT_EQ(TakeFakeGpuLog(), std::vector<std::string>{"read"});
}

TEST(ToDeviceTest, TheHostMayChangeItsTensorAtOnce) {
  at::Tensor host = at::arange(6, at::kLong);
  const at::Tensor here = ToDevice(host, FakeGpu());
  host.zero_();
  EXPECT_TRUE(at::equal(here.to(at::kCPU), at::arange(6, at::kLong)));
}

}  // namespace
}  // namespace longrun
