// Keys and values in the host's memory, on the fake GPU: the results have the bits of keys on the
// device, no copy makes the host wait, and the device's clocks show that no copy is too early.
#include "model/net/host_keys.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/str.h"
#include "model/net/scorer.h"
#include "model/net/to_device.h"
#include "tests/commit_seed.h"
#include "tests/model/net/fake_gpu.h"
#include "tests/model/net/small_model.h"

namespace longrun {
namespace {

using testing::FakeGpu;
using testing::FakeGpuRoom;
using testing::SetFakeGpuRoom;
using testing::TakeFakeGpuLog;
using testing::TakeFakeGpuPeak;

Transformer OnFakeGpu(const NetConfig& config, c10::ScalarType product = at::kFloat,
                      AttentionBackend backend = AttentionBackend::kReference) {
  const std::vector<ParameterSpec> specs = ParametersOf(config.model).value();
  return Transformer::Make(config, InitialParameters(specs, 7), backend,
                           {.device = FakeGpu(), .product = product})
      .value();
}

struct Config {
  std::string name;
  NetConfig net;
  bool has_fused = true;
};

Config OfMethod(const std::string& method, std::int64_t window, bool has_full_layer) {
  Config config = {.name = Str(method, " window ", window, has_full_layer ? ", a full layer" : ""),
                   .net = SmallConfig(method, method == "learned" ? 400 : 0),
                   .has_fused = method != "cope"};
  config.net.model.d_model = 32;
  config.net.model.n_layer = 3;
  config.net.model.body.window = window;
  if (has_full_layer) config.net.full_layers = {1};
  return config;
}

Config OfExtension(const Json& given) {
  Config config = {.name = given.dump(), .net = SmallConfig("rope")};
  config.net.model.d_model = 32;
  config.net.model.n_layer = 3;
  config.net = WithBody(config.net, "llama");
  config.net.extension = ResolveExtension(given).value();
  return config;
}

std::vector<Config> AllConfigs() {
  std::vector<Config> all;
  for (const char* const method : {"none", "sinusoidal", "learned", "rope", "alibi", "cable", "fox",
                                   "t5", "kerple", "xpos", "fire", "cope"}) {
    all.push_back(OfMethod(method, 0, false));
  }
  all.push_back(OfMethod("cable", 20, true));
  all.push_back(OfMethod("t5", 20, true));
  all.push_back(OfMethod("rope", 20, false));  // nothing is in the host's memory
  for (const Json& given : std::vector<Json>{
           {{"method", "pi"}, {"factor", 4}},
           {{"method", "self_extend"}, {"group", 8}, {"window", 32}, {"original_length", 256}},
           {{"method", "streaming"}, {"sinks", 4}, {"recent", 50}, {"original_length", 256}},
           {{"method", "gali"}, {"noise", "gaussian"}, {"original_length", 256}}}) {
    all.push_back(OfExtension(given));
  }
  return all;
}

std::vector<AttentionBackend> BackendsOf(const Config& config) {
  if (!config.has_fused) return {AttentionBackend::kReference};
  return {AttentionBackend::kReference, AttentionBackend::kFused};
}

std::int64_t Noted(const std::vector<std::string>& log, const char* what) {
  return std::ranges::count_if(log, [&](const auto& noted) { return noted.starts_with(what); });
}

// Parts, rows of single tokens, and several parts at once.
struct Cut {
  std::int64_t n = 0, n_part = 0;
  bool only_last = false;
};
std::vector<Cut> DrawCuts(std::int64_t n, SeededRandom& random) {
  const auto below = [&](std::int64_t bound) {
    return static_cast<std::int64_t>(random.Below(static_cast<std::uint64_t>(bound)));
  };
  std::vector<Cut> cuts;
  while (n > 0) {
    Cut cut = {.n = random.Chance(0.3) ? 1 : std::min(n, 1 + below(90))};
    cut.n_part = random.Chance(0.5) ? cut.n : 1 + below(cut.n);
    cut.only_last = cut.n_part == cut.n && random.Chance(0.3);
    cuts.push_back(cut);
    n -= cut.n;
  }
  return cuts;
}

TEST(HostKeysTest, TheResultsHaveTheSameBits) {
  SeededRandom random(testing::CommitSeed());
  constexpr std::int64_t kTokens = 300;
  for (const Config& config : AllConfigs()) {
    for (const AttentionBackend backend : BackendsOf(config)) {
      for (const c10::ScalarType product : {at::kFloat, at::kBFloat16}) {
        SCOPED_TRACE(Str("seed ", testing::CommitSeed(), " ", config.name, " ", EnumName(backend),
                         " ", c10::toString(product)));
        Transformer net = OnFakeGpu(config.net, product, backend);
        const std::int64_t b = random.Chance(0.5) ? 1 : 2;
        const at::Tensor ids_BT = ToDevice(SmallTokens(b, kTokens), FakeGpu());
        const auto here = net.NewState(b, kTokens),
                   in_host = net.NewState(b, kTokens, KeysPlace::kHost);
        for (const Cut& cut : DrawCuts(kTokens, random)) {
          const std::int64_t begin = here->n_read(), n_to_come = kTokens - begin - cut.n;
          const at::Tensor part_BT = ids_BT.narrow(1, begin, cut.n);
          std::vector<at::Tensor> expected;
          TakeFakeGpuLog();
          for (std::int64_t at = 0; at < cut.n; at += cut.n_part) {
            const std::int64_t n = std::min(cut.n_part, cut.n - at);
            const at::Tensor of_part = part_BT.narrow(1, at, n);
            const std::int64_t to_come = n_to_come + cut.n - at - n;
            expected.push_back(cut.only_last ? net.ReadLast(of_part, *here, to_come)
                                             : net.Read(of_part, *here, to_come));
          }
          // Only a reading that moves keys makes the host wait, for its tables.
          const std::int64_t n_waits = Noted(TakeFakeGpuLog(), "wait");
          const at::Tensor given = cut.only_last
                                       ? net.ReadLast(part_BT, *in_host, n_to_come)
                                       : net.ReadParts(part_BT, *in_host, cut.n_part, n_to_come);
          const std::vector<std::string> log = TakeFakeGpuLog();
          EXPECT_EQ(Noted(log, "wait"), n_waits);
          EXPECT_EQ(Noted(log, "race"), 0);
          ASSERT_TRUE(at::equal(given.cpu(), at::cat(expected, 1).cpu()))
              << "tokens " << begin << " to " << begin + cut.n << " in parts of " << cut.n_part;
        }
        ASSERT_EQ(in_host->n_read(), kTokens);
      }
    }
  }
}

// Three layers, of which the second has a window; the keys of layer l are numbers from 1000 l on.
class ChunksTest : public ::testing::Test {
 protected:
  static constexpr std::int64_t kHeads = 2, kChannels = 3, kCapacity = 100;

  ChunksTest() {
    for (std::int64_t l = 0; l < 3; ++l) {
      const at::Tensor none =
          at::empty({2, kHeads, 0, kChannels}, at::TensorOptions().device(FakeGpu()));
      caches_.push_back({.k_BHTD = none,
                         .v_BHTD = none,
                         .of_terms_BHT = {},
                         .capacity = kCapacity,
                         .seen = {.window = l == 1 ? 5 : 0}});
    }
  }

  static at::Tensor Numbers(std::int64_t layer, std::int64_t begin, std::int64_t n) {
    const at::Tensor all = at::arange(2 * kHeads * kCapacity * kChannels, at::kFloat);
    return (all + static_cast<double>(1000 * layer))
        .view({2, kHeads, kCapacity, kChannels})
        .narrow(2, begin, n)
        .contiguous();
  }

  // A pass of n tokens; after it, each layer had the numbers of all tokens so far.
  void Pass(HostKeys& keys, std::int64_t n) {
    for (std::size_t l = 0; l < caches_.size(); ++l) {
      AttentionCache& cache = caches_[l];
      keys.Bring(caches_, l, n);
      cache.MakeRoom(n);
      const at::Tensor numbers =
          ToDevice(Numbers(static_cast<std::int64_t>(l), cache.n, n), FakeGpu());
      cache.Add(numbers, -numbers);
      if (cache.seen.window == 0) {
        const at::Tensor all = Numbers(static_cast<std::int64_t>(l), 0, cache.n);
        EXPECT_TRUE(at::equal(cache.k_BHTD.narrow(2, 0, cache.n).cpu(), all)) << l;
        EXPECT_TRUE(at::equal(cache.v_BHTD.narrow(2, 0, cache.n).cpu(), -all)) << l;
      }
      keys.TakeBack(caches_, l);
    }
  }

  std::vector<AttentionCache> caches_;
};

TEST_F(ChunksTest, RowsComeBackFromSeveralChunks) {
  constexpr std::int64_t kRowBytes = 2 * kHeads * kChannels * 4;
  HostKeys keys(FakeGpu(), caches_, 7 * kRowBytes);
  TakeFakeGpuLog();
  for (const std::int64_t n : {1, 6, 3, 20, 1, 1, 30, 38}) Pass(keys, n);
  EXPECT_EQ(Noted(TakeFakeGpuLog(), "race"), 0);
}

TEST_F(ChunksTest, WhatIsStillArrivingIsWaitedForBeforeItsMemoryIsGivenBack) {
  {
    HostKeys keys(FakeGpu(), caches_);
    Pass(keys, 10);
    TakeFakeGpuLog();
    keys.Bring(caches_, 0, 1);  // the third layer's begin to arrive
  }
  caches_.clear();
  EXPECT_EQ(Noted(TakeFakeGpuLog(), "race"), 0);
}

// ---- when there is no room ---------------------------------------------------------------------

std::vector<std::int32_t> Text(std::int64_t n) {
  const at::Tensor ids = SmallTokens(1, n).to(at::kInt);
  return {ids.const_data_ptr<std::int32_t>(), ids.const_data_ptr<std::int32_t>() + n};
}

std::vector<float> PrefixNll(Transformer& net, const std::vector<std::int32_t>& text) {
  NetScorer scorer(net, /*bos_id=*/12);
  return scorer
      .PrefixNll({.tokens = text, .n_text = std::ssize(text), .n_targets = std::ssize(text) - 1})
      .value();
}

// Of all layers, in fp32.
std::size_t KeyBytes(const Transformer& net, std::int64_t n) {
  const ModelConfig& model = net.config().model;
  return static_cast<std::size_t>(4 * 2 * model.n_layer * model.n_kv_head() * model.head_dim() * n);
}

class NoRoomTest : public ::testing::Test {
 protected:
  ~NoRoomTest() override { SetFakeGpuRoom({}); }

  // What a call needs on the device.
  template <typename Call>
  static std::size_t PeakOf(const Call& call) {
    TakeFakeGpuPeak();
    const std::size_t before = TakeFakeGpuPeak();
    call();
    return TakeFakeGpuPeak() - before;
  }
};

NetConfig Deep(const std::string& method) {
  NetConfig config = SmallConfig(method);
  config.model.n_layer = 24;
  return config;
}

TEST_F(NoRoomTest, ATextThatDoesNotFitIsReadWithItsKeysInTheHostsMemory) {
  constexpr std::int64_t kTokens = 3000;
  const std::vector<std::int32_t> text = Text(kTokens);
  for (const char* const method : {"rope", "cable"}) {
    Transformer net = OnFakeGpu(Deep(method));
    std::vector<float> expected;
    const std::size_t peak = PeakOf([&] { expected = PrefixNll(net, text); });
    ASSERT_GT(peak, KeyBytes(net, kTokens));
    SetFakeGpuRoom({.of_device = peak - KeyBytes(net, kTokens) / 2});
    TakeFakeGpuLog();
    EXPECT_EQ(PrefixNll(net, text), expected) << method;
    EXPECT_EQ(Noted(TakeFakeGpuLog(), "race"), 0);
    SetFakeGpuRoom({});
  }
}

class NoRoomForPromptsTest : public NoRoomTest {
 protected:
  static constexpr std::int64_t kTokens = 1000;

  NoRoomForPromptsTest() {
    peak_ = PeakOf([&] { expected_ = NetScorer(net_).Continue(prompts_).value(); });
  }

  Transformer net_ = OnFakeGpu(Deep("rope"));
  const std::vector<std::int32_t> text_ = Text(kTokens);
  const std::vector<Prompt> prompts_ = std::vector<Prompt>(2, {.tokens = text_, .new_tokens = 5});
  const std::size_t all_key_bytes_ = 2 * KeyBytes(net_, kTokens);
  std::vector<std::vector<std::int32_t>> expected_;
  std::size_t peak_ = 0;
};

TEST_F(NoRoomForPromptsTest, TheyAreContinuedWithTheSameTokens) {
  ASSERT_EQ(expected_.front().size(), 5U);
  SetFakeGpuRoom({.of_device = peak_ - all_key_bytes_ / 2});
  const auto given = NetScorer(net_).Continue(prompts_);
  ASSERT_TRUE(given.ok()) << given.status().message();
  EXPECT_EQ(*given, expected_);
}

TEST_F(NoRoomForPromptsTest, AHostWithoutRoomIsNamed) {
  SetFakeGpuRoom({.of_device = peak_ - all_key_bytes_ / 2, .pinned = all_key_bytes_ / 2});
  TakeFakeGpuLog();
  const auto given = NetScorer(net_).Continue(prompts_);
  ASSERT_FALSE(given.ok());
  EXPECT_EQ(given.status().code(), Code::kResourceExhausted);
  EXPECT_NE(given.status().message().find("the host's memory for keys and values"),
            std::string::npos)
      << given.status().message();
  EXPECT_EQ(Noted(TakeFakeGpuLog(), "race"), 0);
}

}  // namespace
}  // namespace longrun
