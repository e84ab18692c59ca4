// What a network keeps of a text that it reads in parts: it grows with the text, and without keys
// that nothing sees any more the results are those of the text read at once.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/max.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/str.h"
#include "model/extension/extension.h"
#include "model/net/attention_cache.h"
#include "model/net/decoder.h"
#include "model/net/generate.h"
#include "model/net/head.h"
#include "tests/commit_seed.h"
#include "tests/model/net/small_model.h"

namespace longrun {
namespace {

std::int64_t Between(SeededRandom& random, std::int64_t from, std::int64_t to) {
  return from + static_cast<std::int64_t>(random.Below(static_cast<std::uint64_t>(to - from + 1)));
}

double MaxDifference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

// Logits (B, T, V) of the text read at once.
at::Tensor AtOnce(Net& net, const at::Tensor& ids_BT) {
  const at::NoGradGuard no_grad;
  const at::Tensor hidden_BTC = net.Hidden(ids_BT);
  return HeadLogits(hidden_BTC.flatten(0, 1), net.head(), net.compute())
      .view({ids_BT.size(0), ids_BT.size(1), -1});
}

// ---- the cache of a layer ----------------------------------------------------------------------

AttentionCache EmptyCache(std::int64_t capacity, const KeysSeen& seen) {
  return {.k_BHTD = at::zeros({1, 1, 0, 1}),
          .v_BHTD = at::zeros({1, 1, 0, 1}),
          .of_terms_BHT = {at::Tensor(), at::zeros({1, 1, 0}, at::kDouble)},
          .capacity = capacity,
          .seen = seen};
}

// Key j is the number j, value j is -j, and the number of a term for it is j / 2.
void Read(AttentionCache& cache, std::int64_t n) {
  cache.MakeRoom(n);
  const at::Tensor keys = at::arange(cache.n, cache.n + n, at::kFloat);
  cache.of_terms_BHT[1].narrow(2, cache.n_held(), n).copy_(keys.to(at::kDouble) / 2);
  cache.Add(keys.view({1, 1, n, 1}), -keys.view({1, 1, n, 1}));
  cache.Forget();
}

TEST(AttentionCacheTest, RoomGrowsWithTheTextAndEndsAtTheCapacity) {
  AttentionCache cache = EmptyCache(1000, {});
  EXPECT_EQ(cache.n_room(), 0);
  for (const std::int64_t n : {1, 20, 79, 1, 1, 300, 400, 198}) {
    Read(cache, n);
    EXPECT_GE(cache.n_room(), cache.n);
    EXPECT_LE(cache.n_room(), std::max<std::int64_t>(64, cache.n + cache.n / 2));
  }
  EXPECT_EQ(cache.n, 1000);
  EXPECT_EQ(cache.n_room(), 1000);
  EXPECT_TRUE(at::equal(cache.k_BHTD.flatten(), at::arange(1000, at::kFloat)));

  // Token by token: room that grew by a constant would be moved hundreds of times.
  AttentionCache by_tokens = EmptyCache(1 << 20, {});
  int n_moves = 0;
  for (std::int64_t n = 0; n < 20'000; ++n) {
    const void* const before = by_tokens.k_BHTD.const_data_ptr();
    Read(by_tokens, 1);
    n_moves += by_tokens.k_BHTD.const_data_ptr() != before ? 1 : 0;
  }
  EXPECT_LE(n_moves, 16);
}

TEST(AttentionCacheTest, AllOfTheCapacityCanBeReservedAndOfAWindowOnlyWhatItTakes) {
  AttentionCache cache = EmptyCache(1000, {});
  cache.Reserve();
  EXPECT_EQ(cache.n_room(), 1000);
  AttentionCache of_window = EmptyCache(1'000'000, {.window = 100});
  of_window.Reserve();
  const std::int64_t n_room = of_window.n_room();
  EXPECT_LT(n_room, 300);
  for (int t = 0; t < 2000; ++t) {
    Read(of_window, 1);
    ASSERT_EQ(of_window.n_room(), n_room);
  }
}

TEST(AttentionCacheTest, WhatIsHeldIsWhatALaterQueryMaySee) {
  SeededRandom random(testing::CommitSeed());
  for (int draw = 0; draw < 100; ++draw) {
    const KeysSeen seen = {.window = Between(random, 1, 300), .n_sink = Between(random, 0, 100)};
    const std::int64_t longest = random.Chance(0.5) ? 3 : 500;
    AttentionCache cache = EmptyCache(1 << 20, seen);
    std::int64_t n_forgotten = 0;
    for (int call = 0; call < 200; ++call) {
      Read(cache, Between(random, 1, longest));
      SCOPED_TRACE(Str("seed ", testing::CommitSeed(), " window ", seen.window, " sinks ",
                       seen.n_sink, " after ", cache.n, " tokens"));
      const HeldKeys& held = cache.held;
      // All that a later query sees, in whole tiles, and little more.
      if (held.n_forgotten > 0) {
        ASSERT_GE(held.n_front, seen.n_sink);
        ASSERT_LE(held.n_front + held.n_forgotten, cache.n - seen.window + 1);
      }
      ASSERT_EQ(held.n_front % 64, 0);
      ASSERT_EQ(held.n_forgotten % 64, 0);
      ASSERT_GE(held.n_forgotten, n_forgotten);
      n_forgotten = held.n_forgotten;
      ASSERT_LT(cache.n_held(), seen.n_sink + seen.window + seen.window / 4 + 4 * 64);
      const at::Tensor k = cache.k_BHTD.flatten(), v = cache.v_BHTD.flatten();
      for (std::int64_t place = 0; place < cache.n_held(); ++place) {
        const auto key = static_cast<float>(held.KeyAt(place));
        ASSERT_EQ(k.const_data_ptr<float>()[place], key);
        ASSERT_EQ(v.const_data_ptr<float>()[place], -key);
        ASSERT_EQ(cache.of_terms_BHT[1].const_data_ptr<double>()[place], key / 2);
      }
    }
    if (cache.n > 1000) {
      EXPECT_GT(n_forgotten, 0);
    }
  }
}

// ---- networks ----------------------------------------------------------------------------------

// A network whose layers, or all but the second, see `window` keys.
NetConfig Windowed(const Json& position, std::int64_t window, bool has_full_layer) {
  NetConfig config = SmallConfig(position);
  config.model.d_model = 32;  // the fused attention has heads of 8, 16, ... channels
  config.model.body.window = window;
  if (has_full_layer) config.full_layers = {1};
  return config;
}

NetConfig Extended(const Json& given) {
  NetConfig config = SmallConfig("rope");
  config.model.d_model = 32;
  config = WithBody(config, "llama");
  config.extension = ResolveExtension(given).value();
  return config;
}

std::vector<std::int64_t> DrawCuts(std::int64_t n, SeededRandom& random) {
  std::vector<std::int64_t> cuts;
  while (n > 0) {
    // A row of single tokens now and then, as in generation, and long and short parts.
    const std::int64_t longest = random.Chance(0.3) ? 300 : 40;
    const std::int64_t part = Between(random, 1, longest);
    const bool is_tokens = random.Chance(0.5);
    for (std::int64_t i = 0; i < (is_tokens ? std::min<std::int64_t>(part, 40) : 1) && n > 0; ++i) {
      cuts.push_back(is_tokens ? 1 : std::min(n, part));
      n -= cuts.back();
    }
  }
  return cuts;
}

struct Texts {
  std::int64_t n_sequences = 0, n_tokens = 0;
  std::vector<std::int64_t> cuts = {};

  static Texts Draw(SeededRandom& random) {
    Texts texts = {.n_sequences = Between(random, 1, 3), .n_tokens = Between(random, 300, 900)};
    texts.cuts = DrawCuts(texts.n_tokens, random);
    return texts;
  }
  std::string Text() const {
    return Str("seed ", testing::CommitSeed(), ", ", n_sequences, " sequences, cuts ",
               Json(cuts).dump());
  }
};

std::int64_t Forgotten(NetState& state) {
  std::int64_t n = 0;
  for (const AttentionCache& cache : static_cast<TransformerState&>(state).caches().of_layers) {
    n = std::max(n, cache.held.n_forgotten);
  }
  return n;
}

// The largest error of the logits of each part, or of its last token, beside the text read at once.
double ErrorInCuts(Transformer& net, const Texts& texts, const at::Tensor& ids_BT,
                   const at::Tensor& expected_BTV, std::int64_t* n_forgotten) {
  const at::NoGradGuard no_grad;
  const std::unique_ptr<NetState> state = net.NewState(texts.n_sequences, texts.n_tokens);
  double error = 0.0;
  for (std::size_t c = 0; c < texts.cuts.size(); ++c) {
    const std::int64_t begin = state->n_read(), n = texts.cuts[c];
    const at::Tensor part_BT = ids_BT.narrow(1, begin, n);
    const bool is_last = c % 3 == 0;
    const at::Tensor hidden = is_last ? net.ReadLast(part_BT, *state, texts.n_tokens - begin - n)
                                      : net.Read(part_BT, *state, texts.n_tokens - begin - n);
    const at::Tensor logits = HeadLogits(hidden.flatten(0, 1), net.head(), net.compute())
                                  .view({texts.n_sequences, hidden.size(1), -1});
    const at::Tensor expected =
        is_last ? expected_BTV.narrow(1, begin + n - 1, 1) : expected_BTV.narrow(1, begin, n);
    error = std::max(error, MaxDifference(logits, expected));
  }
  EXPECT_EQ(state->n_read(), texts.n_tokens);
  *n_forgotten = Forgotten(*state);
  return error;
}

void ExpectTheTextAtOnce(const NetConfig& config, const Texts& texts, bool has_fused) {
  const at::Tensor ids_BT = SmallTokens(texts.n_sequences, texts.n_tokens);
  Transformer exact = SmallNet(config, "fp64");
  const at::Tensor expected_BTV = AtOnce(exact, ids_BT);
  const double size = expected_BTV.abs().max().item<double>();
  std::int64_t n_forgotten = 0;
  EXPECT_LT(ErrorInCuts(exact, texts, ids_BT, expected_BTV, &n_forgotten), 1e-9);
  EXPECT_GT(n_forgotten, 0);
  Transformer rounded = SmallNet(config, "fp32");
  EXPECT_LT(ErrorInCuts(rounded, texts, ids_BT, expected_BTV, &n_forgotten), 2e-5 * size);
  if (!has_fused) return;
  Transformer fused = SmallNet(config, "fp32", 7, AttentionBackend::kFused);
  EXPECT_LT(ErrorInCuts(fused, texts, ids_BT, expected_BTV, &n_forgotten), 2e-5 * size);
}

const std::vector<Json>& Positions() {
  static const std::vector<Json> all = {{{"method", "none"}},
                                        {{"method", "rope"}},
                                        {{"method", "rope"}, {"layout", "interleaved"}},
                                        {{"method", "alibi"}},
                                        {{"method", "cable"}},
                                        {{"method", "fox"}},
                                        {{"method", "t5"}},
                                        {{"method", "kerple"}},
                                        {{"method", "xpos"}},
                                        {{"method", "fire"}},
                                        {{"method", "cope"}}};
  return all;
}

TEST(CacheTest, LayersWithAWindowForgetWhatItHidesAndTheResultsStay) {
  SeededRandom random(testing::CommitSeed());
  for (const Json& position : Positions()) {
    for (const bool has_full_layer : {false, true}) {
      const Texts texts = Texts::Draw(random);
      const std::int64_t window = Between(random, 1, 100);
      SCOPED_TRACE(Str(position.dump(), " window ", window, has_full_layer ? ", a full layer" : "",
                       ", ", texts.Text()));
      ExpectTheTextAtOnce(Windowed(position, window, has_full_layer), texts,
                          position.at("method") != "cope");
    }
  }
}

std::vector<Json> DrawReadings(SeededRandom& random) {
  const std::int64_t window = Between(random, 1, 100), sinks = Between(random, 1, 90);
  std::vector<Json> readings = {{{"method", "window"}, {"window", window}},
                                {{"method", "streaming"}, {"sinks", sinks}, {"recent", window}},
                                {{"method", "lm_infinite"},
                                 {"local", window},
                                 {"global", sinks},
                                 {"limit", Between(random, 1, 100)}}};
  for (Json& given : readings) given["original_length"] = 256;
  return readings;
}

TEST(CacheTest, ExtensionsWithAWindowForgetAllButItAndTheSinksAndTheResultsStay) {
  SeededRandom random(testing::CommitSeed() + 1);
  for (int draw = 0; draw < 4; ++draw) {
    for (const Json& given : DrawReadings(random)) {
      const Texts texts = Texts::Draw(random);
      SCOPED_TRACE(Str(given.dump(), ", ", texts.Text()));
      ExpectTheTextAtOnce(Extended(given), texts, true);
    }
  }
}

// What the capacity may change is only how often memory is moved.
TEST(CacheTest, TheCapacityChangesNoBit) {
  SeededRandom random(testing::CommitSeed() + 2);
  std::vector<NetConfig> configs;
  for (const Json& position : Positions()) {
    if (position.at("method") == "xpos") continue;  // its growth counts from the capacity's middle
    configs.push_back(Windowed(position, 50, true));
    configs.push_back(Windowed(position, 0, false));
  }
  for (const Json& given : DrawReadings(random)) configs.push_back(Extended(given));
  for (const NetConfig& config : configs) {
    const Texts texts = Texts::Draw(random);
    SCOPED_TRACE(Str(config.model.position.method, " ", config.extension.dump(), " window ",
                     config.model.body.window, ", ", texts.Text()));
    const at::Tensor ids_BT = SmallTokens(texts.n_sequences, texts.n_tokens);
    const bool has_fused = config.model.position.method != "cope";
    Transformer net = SmallNet(config, "fp32", 7,
                               has_fused ? AttentionBackend::kFused : AttentionBackend::kReference);
    Decoder exact = Decoder::Make(net, texts.n_sequences, texts.n_tokens).value();
    Decoder vast = Decoder::Make(net, texts.n_sequences, std::int64_t{1} << 40).value();
    for (const std::int64_t cut : texts.cuts) {
      const at::Tensor part_BT = ids_BT.narrow(1, exact.n_fed(), cut);
      ASSERT_TRUE(at::equal(exact.Feed(part_BT), vast.Feed(part_BT))) << exact.n_fed();
    }
  }
}

// Each prompt alone, the whole text read again for each token, is the oracle.
TEST(CacheTest, RaggedPromptsAreContinuedFarBeyondTheWindow) {
  SeededRandom random(testing::CommitSeed() + 3);
  std::vector<NetConfig> configs = {Windowed("rope", 20, true), Windowed("cable", 20, false)};
  for (const Json& given : DrawReadings(random)) configs.push_back(Extended(given));
  constexpr std::int64_t kNew = 5, kLongest = 430;
  for (const NetConfig& config : configs) {
    SCOPED_TRACE(Str("seed ", testing::CommitSeed(), " ", config.model.position.method, " ",
                     config.extension.dump()));
    Transformer net = SmallNet(config, "fp64");
    const std::vector<std::int64_t> lengths = {Between(random, 1, kLongest), kLongest,
                                               Between(random, 100, 200)};
    const at::Tensor prompt_BT = SmallTokens(3, kLongest);
    const Generated all =
        Generate(net, prompt_BT, {.new_tokens = kNew, .prompt_lengths = lengths}).value();
    for (std::int64_t b = 0; b < 3; ++b) {
      const std::int64_t n = lengths[static_cast<std::size_t>(b)];
      const Generated alone = Generate(net, prompt_BT.narrow(0, b, 1).narrow(1, 0, n).contiguous(),
                                       {.new_tokens = kNew, .cache = false})
                                  .value();
      EXPECT_TRUE(at::equal(all.tokens_BT.select(0, b).narrow(0, 0, n + kNew),
                            alone.tokens_BT.select(0, 0)))
          << "text " << b << " of " << n;
      EXPECT_LT(MaxDifference(all.logits_BNV.select(0, b), alone.logits_BNV.select(0, 0)), 1e-9)
          << "text " << b << " of " << n;
    }
  }
}

}  // namespace
}  // namespace longrun
