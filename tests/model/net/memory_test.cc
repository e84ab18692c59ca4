// What a train step and a forward pass hold at most, by length: fused attention has no T x T
// anywhere, so both grow as T. Every allocation of the process is counted.
//
// LONGRUN_SOAK=1 takes the lengths that the claim is made for (minutes);
// else the same at an eighth.
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <string>

#include "base/process.h"
#include "base/str.h"
#include "model/attention_path.h"
#include "model/extension/extension.h"
#include "model/net/adamw.h"
#include "model/net/decoder.h"
#include "model/net/gradient.h"
#include "model/net/kernel_attention.h"
#include "model/net/scorer.h"
#include "model/net/terms/rotation.h"
#include "tests/allocations.h"
#include "tests/model/net/small_model.h"

namespace longrun {
namespace {

// A peak of several threads depends on which of them hold their buffers at the same time.
class OneThread : public testing::Environment {
  void SetUp() override { at::set_num_threads(1); }
};
const testing::Environment* const kOneThread = testing::AddGlobalTestEnvironment(new OneThread);

constexpr std::int64_t kKiB = 1 << 10;

bool IsSoak() { return GetEnv("LONGRUN_SOAK").has_value(); }

// A layer of micro: 96 channels in 4 heads; a position table is as long as what is read.
NetConfig OneLayer(std::string_view method, std::int64_t n_positions) {
  NetConfig config = SmallConfig({{"method", method}});
  config.model.n_layer = 1;
  config.model.n_head = 4;
  config.model.d_model = 96;
  config.model.d_ff = 384;
  if (FindPositionMethod(method).value()->has_position_table) {
    config.model.n_positions = n_positions;
  }
  return config;
}

Transformer Fused(const NetConfig& config, const std::string& precision) {
  const std::vector<ParameterSpec> specs = ParametersOf(config.model).value();
  return Transformer::Make(config, InitialParameters(specs, 7), AttentionBackend::kFused,
                           OpenCompute("cpu", precision).value())
      .value();
}

struct StepMemory {
  std::int64_t peak = 0;     // beyond what was held before the step
  std::int64_t largest = 0;  // of one allocation
};

// Of the second step: the first makes what later ones keep.
StepMemory TrainStep(Transformer net, std::int64_t n) {
  net.KeepWeightCopies();
  AdamW optimizer(OptimizerConfig(), net);
  const at::Tensor ids_BT = SmallTokens(1, n + 1);
  StepMemory found;
  for (int step = 0; step < 2; ++step) {
    const std::int64_t held = AllocationsNow().held;
    ForgetAllocations();
    ClearGradients(net);
    AddGradients(net, ids_BT.narrow(1, 0, n), ids_BT.narrow(1, 1, n), 1.0 / static_cast<double>(n));
    optimizer.ClipGradients();
    optimizer.Step(1e-3);
    const Allocations now = AllocationsNow();
    found = {.peak = now.most - held, .largest = now.largest};
  }
  return found;
}

class StepMemoryTest : public testing::TestWithParam<std::string> {};

TEST_P(StepMemoryTest, APeakGrowsAsTheLengthAndNoAllocationIsOfItsSquare) {
  if (!AllocationsAreCounted()) GTEST_SKIP() << "a sanitizer counts allocations itself";
  const std::int64_t unit = IsSoak() ? kKiB : kKiB / 8;
  for (const char* precision : {"fp32", "bf16"}) {
    std::map<std::int64_t, StepMemory> at;
    for (const std::int64_t n : {1, 2, 8, 16}) {
      at[n] = TrainStep(Fused(OneLayer(GetParam(), n * unit), precision), n * unit);
    }
    const auto slope = [&](std::int64_t from, std::int64_t to) {
      return static_cast<double>(at[to].peak - at[from].peak) / static_cast<double>(to - from);
    };
    EXPECT_LE(slope(8, 16), 1.2 * slope(1, 2))
        << precision << ", peaks " << at[1].peak << " " << at[2].peak << " " << at[8].peak << " "
        << at[16].peak;
    // The smallest element is a byte; beside T^2, what a token has anyway is little at this length.
    EXPECT_LT(at[16].largest, 16 * unit * 16 * unit) << precision;
  }
}

// The suite must be able to fail: the plain operators' blocks of scores grow as T^2 in training.
TEST(StepMemoryBesideTest, ThePlainOperatorsGrowAsTheSquare) {
  if (!AllocationsAreCounted()) GTEST_SKIP() << "a sanitizer counts allocations itself";
  const NetConfig config = OneLayer("alibi", 0);
  const std::vector<ParameterSpec> specs = ParametersOf(config.model).value();
  const auto peak = [&](std::int64_t n) {
    return TrainStep(
               Transformer::Make(config, InitialParameters(specs, 7), AttentionBackend::kReference,
                                 OpenCompute("cpu", "fp32").value())
                   .value(),
               n)
        .peak;
  };
  const std::int64_t a = peak(256), b = peak(512), c = peak(1024);
  EXPECT_GT(c - b, 1.2 * 2 * static_cast<double>(b - a));
}

std::vector<std::string> Covered() {
  std::vector<std::string> names;
  for (const PositionMethod* method : PositionMethods()) {
    const NetConfig config = OneLayer(method->name, 1);
    if (AttentionPathFor(config.model, DeviceKind::kCpu) == AttentionBackend::kFused)
      names.emplace_back(method->name);
  }
  return names;
}

INSTANTIATE_TEST_SUITE_P(Methods, StepMemoryTest, testing::ValuesIn(Covered()),
                         [](const auto& given) { return given.param; });

// A tiny model (6 layers, 8 heads, 512 wide) reads 32768 tokens within 2 GiB,
// its weights among them.
TEST(EvaluationMemoryTest, ALongTextIsReadWithinTwoGiB) {
  if (!AllocationsAreCounted()) GTEST_SKIP() << "a sanitizer counts allocations itself";
  NetConfig config;
  config.model = ModelConfig::Preset("tiny").value();
  config.model.vocab_size = 256;
  config.model.position = ResolvePosition("cable").value();
  const std::int64_t n = IsSoak() ? 32 * kKiB : 2 * kKiB;
  const std::int64_t limit = (IsSoak() ? 2048 : 256) * kKiB * kKiB;
  ForgetAllocations();
  const std::int64_t held = AllocationsNow().held;
  Transformer net = Fused(config, "fp32");
  NetScorer scorer(net);
  const at::Tensor ids_1T = SmallTokens(1, n).to(at::kInt);
  const Window all = {.context_begin = 0, .score_begin = 1, .score_end = n};
  const auto nll =
      scorer.Nll({ids_1T.const_data_ptr<std::int32_t>(), static_cast<std::size_t>(n)}, {&all, 1});
  ASSERT_TRUE(nll.ok()) << nll.status().message();
  EXPECT_EQ(nll->front().size(), static_cast<std::size_t>(n - 1));
  EXPECT_LT(AllocationsNow().most - held, limit);
}

// A token far into a text makes the angles of some positions, and not those of all before it; and
// they are the ones that a table from position 0 has.
TEST(RotationMemoryTest, ATokenAtAMillionMakesNoTableOfAMillionRows) {
  const Rotation rotation = TermsOf(OneLayer("rope", 0).model).value().rotation.value();
  const Compute compute = OpenCompute("cpu", "fp32").value();
  constexpr std::int64_t kPlace = 1'000'000;
  const at::Tensor x_BHTD = SmallTokens(1, 24).view({1, 1, 1, 24}).to(at::kFloat);
  Rotator rotator(rotation, compute);
  const std::int64_t held = AllocationsNow().held;
  ForgetAllocations();
  const at::Tensor far = rotator.Keys(x_BHTD, {.begin = kPlace, .n_positions = kPlace + 1});
  if (AllocationsAreCounted()) {
    EXPECT_LT(AllocationsNow().most - held, 128 * kKiB);
  }

  Rotator whole(rotation, compute);
  const at::Tensor all =
      whole.Keys(x_BHTD.expand({1, 1, kPlace + 1, 24}), {.begin = 0, .n_positions = kPlace + 1});
  EXPECT_TRUE(at::equal(far, all.narrow(2, kPlace, 1)));
  for (const std::int64_t begin : {1, 7, 127, 128, 1000, 65537, 999'999}) {
    for (const std::int64_t n : {1, 2, 3, 5, 200}) {
      if (begin + n > kPlace) continue;
      const at::Tensor some =
          rotator.Keys(x_BHTD.expand({1, 1, n, 24}), {.begin = begin, .n_positions = begin + n});
      EXPECT_TRUE(at::equal(some, all.narrow(2, begin, n))) << begin << ", " << n;
    }
  }
}

// The kernel's table for positions of a batch has a row for each position that the batch uses.
TEST(RotationMemoryTest, PositionsOfABatchMakeRowsOfTheirOwn) {
  const Rotation rotation = TermsOf(OneLayer("rope", 0).model).value().rotation.value();
  Rotator rotator(rotation, OpenCompute("cpu", "fp32").value());
  constexpr std::int64_t kPositions = 1'000'000;
  const at::Tensor ids_BT =
      at::tensor({999'999, 5, 5, 70'000}, at::TensorOptions().dtype(at::kInt)).view({2, 2});
  const std::int64_t held = AllocationsNow().held;
  ForgetAllocations();
  const Rotator::NumbersOfIds found = rotator.Numbers(ids_BT, kPositions);
  if (AllocationsAreCounted()) {
    EXPECT_LT(AllocationsNow().most - held, 128 * kKiB);
  }
  EXPECT_TRUE(at::equal(found.row_BT, at::tensor({2, 0, 0, 1}, ids_BT.options()).view({2, 2})));
  const auto n_pairs = std::ssize(rotation.frequency);
  const std::shared_ptr<const RotationNumbers> all = rotator.Numbers(kPositions);
  for (std::int64_t i = 0; i < 4; ++i) {
    const auto row = found.row_BT.flatten()[i].item<std::int64_t>();
    const auto id = ids_BT.flatten()[i].item<std::int64_t>();
    for (std::int64_t c = 0; c < n_pairs; ++c) {
      const auto of_row = static_cast<std::size_t>(row * n_pairs + c);
      const auto of_all = static_cast<std::size_t>(id * n_pairs + c);
      EXPECT_EQ(found.numbers->angles->cos[of_row], all->angles->cos[of_all]);
      EXPECT_EQ(found.numbers->angles->sin[of_row], all->angles->sin[of_all]);
    }
  }
}

// The most that a cached prefill and one token hold beyond the weights, under an extension that
// moves or hides keys ("none": without one).
std::int64_t PrefillPeak(const std::string& method, std::int64_t original, std::int64_t n) {
  NetConfig config = OneLayer("rope", 0);
  config.model.n_layer = 2;  // of the last one, a prompt computes only its last token
  if (method != "none") {
    Json given = {{"method", method}, {"original_length", original}};
    if (method == "self_extend") given["group"] = 32;
    if (method == "leaky_rerope") given["k"] = 32;
    if (method == "self_extend" || method == "leaky_rerope" || method == "rerope") {
      given["window"] = original / 8;
    }
    if (method == "window") given["window"] = original;
    config.extension = ResolveExtension(given).value();
  }
  Transformer net = Fused(config, "fp32");
  const at::Tensor ids_BT = SmallTokens(1, n + 1);
  const std::int64_t held = AllocationsNow().held;
  ForgetAllocations();
  Decoder decoder = Decoder::Make(net, 1, n + 1).value();
  decoder.Feed(ids_BT.narrow(1, 0, n));
  decoder.Feed(ids_BT.narrow(1, n, 1));
  return AllocationsNow().most - held;
}

std::vector<std::string> ReadingMethods() {
  std::vector<std::string> names = {"none"};
  for (const Extension* extension : Extensions()) {
    if (extension->read != nullptr) names.emplace_back(extension->name);
  }
  return names;
}

class ExtensionMemoryTest : public testing::TestWithParam<std::string> {};

// Between 4, 16 and 64 units, 4 times the tokens may hold 4 times as much. 4.4 leaves 10 % for what
// grows in steps: whole tiles and pieces, and vectors that grow by doubling. With anything that
// grows as the square, the factor would approach 16.
TEST_P(ExtensionMemoryTest, ThePeakOfAPrefillGrowsAsTheText) {
  if (!AllocationsAreCounted()) GTEST_SKIP() << "a sanitizer counts allocations itself";
  const std::int64_t unit = IsSoak() ? kKiB : kKiB / 8;
  PrefillPeak(GetParam(), 4 * unit, unit);  // makes what the process keeps
  const std::int64_t base = PrefillPeak(GetParam(), 4 * unit, 1);
  std::map<std::int64_t, std::int64_t> peak;
  for (const std::int64_t n : {4, 16, 64})
    peak[n] = PrefillPeak(GetParam(), 4 * unit, n * unit) - base;
  const std::string found = Str(peak[4], ", ", peak[16], " and ", peak[64], " bytes");
  RecordProperty("peaks", found);
  EXPECT_LE(static_cast<double>(peak[64]), 4.4 * static_cast<double>(peak[16])) << found;
  EXPECT_LE(static_cast<double>(peak[16]), 4.4 * static_cast<double>(peak[4])) << found;
  if (IsSoak()) std::printf("%s: %s\n", GetParam().c_str(), found.c_str());
}

INSTANTIATE_TEST_SUITE_P(Methods, ExtensionMemoryTest, testing::ValuesIn(ReadingMethods()),
                         [](const auto& given) { return given.param; });

// 65,536 tokens are eight parts. What the cache holds of the texts is not counted.
TEST(PrefillMemoryTest, ManyTokensTakeTheMemoryOfAPartOfThem) {
  if (!AllocationsAreCounted()) GTEST_SKIP() << "a sanitizer counts allocations itself";
  constexpr std::int64_t kTexts = 64, kTokens = 1024;
  NetConfig config = OneLayer("rope", 0);
  config.model.n_layer = 2;
  Transformer net = Fused(config, "fp32");
  const at::Tensor ids_BT = SmallTokens(kTexts, kTokens);
  const std::int64_t cache_bytes =
      kTexts * kTokens * config.model.n_layer * 2 * config.model.d_model * 4;
  const auto peak_of = [&](auto read) {
    read();  // makes what the process keeps
    const std::int64_t held = AllocationsNow().held;
    ForgetAllocations();
    read();
    return AllocationsNow().most - held - cache_bytes;
  };
  const std::int64_t at_once = peak_of([&] {
    const at::NoGradGuard no_grad;
    const std::unique_ptr<NetState> state = net.NewState(kTexts, kTokens);
    net.ReadLast(ids_BT, *state);
  });
  const std::int64_t in_parts = peak_of([&] {
    Decoder decoder = Decoder::Make(net, kTexts, kTokens).value();
    decoder.Reserve();  // no copies while it grows
    decoder.Feed(ids_BT);
  });
  EXPECT_GT(in_parts, 0);
  EXPECT_LT(in_parts, at_once / 3) << in_parts << " and " << at_once << " bytes";
}

// A text that is longer than what is read at a time: beside its rows, queries, keys, values, copies
// of the latter in the kernel's order, and outputs, no more than a part. Two texts side by side are
// read at once.
TEST(LongTextMemoryTest, ATextTakesItsRowsAndWhatAttentionNeeds) {
  if (!AllocationsAreCounted()) GTEST_SKIP() << "a sanitizer counts allocations itself";
  constexpr std::int64_t kTokens = 65'536;
  NetConfig config = OneLayer("rope", 0);
  config.model.n_layer = 2;
  config.model.body.window = 64;
  Transformer net = Fused(config, "fp32");
  const auto peak_of = [&](std::int64_t n_texts) {
    const at::NoGradGuard no_grad;
    const at::Tensor ids_BT = SmallTokens(n_texts, kTokens / n_texts);
    net.Hidden(ids_BT);  // makes what the process keeps
    const std::int64_t held = AllocationsNow().held;
    ForgetAllocations();
    net.Hidden(ids_BT);
    return AllocationsNow().most - held;
  };
  const std::int64_t at_once = peak_of(2), in_parts = peak_of(1);
  const std::int64_t row = 4 * config.model.d_model;
  EXPECT_LT(in_parts, row * (7 * kTokens + 12 * kTokens / 8)) << at_once << " bytes at once";
  EXPECT_LT(3 * in_parts, 2 * at_once) << in_parts;
}

// A network whose queries see `window` keys, and 10 sinks: under an extension, or in its layers
// ("sliding", with position method "rope"; any other name is that method's).
NetConfig Windowed(const std::string& name, std::int64_t window) {
  const auto method = FindPositionMethod(name);
  NetConfig config = OneLayer(method.ok() ? name : "rope", 0);
  config.model.n_layer = 2;
  if (name == "sliding" || method.ok()) {
    config.model.body.window = window;
    return config;
  }
  Json given = {{"method", name}, {"original_length", window + 10}};
  if (name == "window") given["window"] = window;
  if (name == "streaming") given.update({{"sinks", 10}, {"recent", window}});
  if (name == "lm_infinite") given.update({{"local", window}, {"global", 10}});
  config.extension = ResolveExtension(given).value();
  return config;
}

// The most that is held beyond the weights to read n tokens in chunks, and 3 after each chunk one
// by one.
std::int64_t ReadingPeak(const NetConfig& config, std::int64_t n, std::int64_t chunk) {
  Transformer net = Fused(config, "fp32");
  const at::Tensor ids_BT = SmallTokens(1, n);
  const std::int64_t held = AllocationsNow().held;
  ForgetAllocations();
  Decoder decoder = Decoder::Make(net, 1, n).value();
  while (decoder.n_fed() < n) {
    for (const std::int64_t part : {chunk - 3, 1L, 1L, 1L}) {
      decoder.Feed(ids_BT.narrow(1, decoder.n_fed(), part), n - decoder.n_fed() - part);
    }
  }
  return AllocationsNow().most - held;
}

class WindowMemoryTest : public testing::TestWithParam<std::string> {};

// Between 4 and 64 units of text, a window of one unit and chunks of one unit, nothing grows.
TEST_P(WindowMemoryTest, ThePeakOfAReadingInChunksIsFlat) {
  if (!AllocationsAreCounted()) GTEST_SKIP() << "a sanitizer counts allocations itself";
  const std::int64_t unit = IsSoak() ? kKiB : kKiB / 8;
  const NetConfig config = Windowed(GetParam(), unit);
  ReadingPeak(config, 4 * unit, unit);  // makes what the process keeps
  std::map<std::int64_t, std::int64_t> peak;
  for (const std::int64_t n : {4, 16, 64}) peak[n] = ReadingPeak(config, n * unit, unit);
  const std::string found = Str(peak[4], ", ", peak[16], " and ", peak[64], " bytes");
  RecordProperty("peaks", found);
  // 5 % for vectors that grow by doubling.
  EXPECT_LE(static_cast<double>(peak[16]), 1.05 * static_cast<double>(peak[4])) << found;
  EXPECT_LE(static_cast<double>(peak[64]), 1.05 * static_cast<double>(peak[4])) << found;
  if (IsSoak()) std::printf("%s: %s\n", GetParam().c_str(), found.c_str());
}

INSTANTIATE_TEST_SUITE_P(Windows, WindowMemoryTest,
                         testing::Values("window", "streaming", "lm_infinite", "sliding", "cable",
                                         "t5", "alibi", "fire"),
                         [](const auto& given) { return given.param; });

// What is kept after a long prompt that was read at once is what its window keeps.
TEST(KeptMemoryTest, AfterALongPromptOnlyTheWindowIsKept) {
  if (!AllocationsAreCounted()) GTEST_SKIP() << "a sanitizer counts allocations itself";
  const std::int64_t unit = IsSoak() ? kKiB : kKiB / 8;
  for (const char* name : {"window", "streaming", "lm_infinite", "sliding"}) {
    const auto kept = [&](std::int64_t n) {
      Transformer net = Fused(Windowed(name, unit), "fp32");
      const at::Tensor ids_BT = SmallTokens(1, n);
      const auto fed = [&] {
        Decoder decoder = Decoder::Make(net, 1, n).value();
        decoder.Feed(ids_BT);
        return decoder;
      };
      fed();  // makes what the network keeps
      const std::int64_t held = AllocationsNow().held;
      const Decoder decoder = fed();
      return AllocationsNow().held - held;
    };
    const std::int64_t after_16 = kept(16 * unit);
    // Some bytes for what the memory's own bookkeeping adds.
    EXPECT_LE(kept(64 * unit), after_16 + kKiB) << name;
    // Keys and values of two layers, in fp32, and as much again.
    EXPECT_LT(after_16, 2 * (2 * 2 * 96 * 4) * (unit + 64)) << name;
  }
}

// A short answer with room for a million tokens: as with room for no more than it has.
TEST(CapacityMemoryTest, ABigCapacityCostsNothing) {
  if (!AllocationsAreCounted()) GTEST_SKIP() << "a sanitizer counts allocations itself";
  Transformer net = Fused(OneLayer("rope", 0), "fp32");
  const at::Tensor ids_BT = SmallTokens(1, 210);
  const auto peak = [&](std::int64_t capacity) {
    const std::int64_t held = AllocationsNow().held;
    ForgetAllocations();
    Decoder decoder = Decoder::Make(net, 1, capacity).value();
    decoder.Feed(ids_BT.narrow(1, 0, 200));
    for (std::int64_t t = 200; t < 210; ++t) decoder.Feed(ids_BT.narrow(1, t, 1));
    return AllocationsNow().most - held;
  };
  peak(210);  // makes what the network keeps
  EXPECT_LE(peak(1'000'000), peak(210) + 2 * 200 * 96 * 4);
}

}  // namespace
}  // namespace longrun
