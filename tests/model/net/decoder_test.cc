#include "model/net/decoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/max.h>
#include <gtest/gtest.h>

#include <cmath>

#include "model/extension/extension.h"
#include "model/net/generate.h"
#include "model/net/head.h"
#include "model/net/parameters.h"
#include "model/net/throughput.h"
#include "tests/model/net/small_model.h"

namespace longrun {
namespace {

// Logits (B, V) behind the last token, of the whole sequence read anew.
at::Tensor Anew(Transformer& net, const at::Tensor& ids_BT) {
  const at::NoGradGuard no_grad;
  const at::Tensor hidden_BTC = net.Hidden(ids_BT);
  return HeadLogits(hidden_BTC.select(1, ids_BT.size(1) - 1), net.head(), net.compute());
}

double MaxDifference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

class DecoderTest : public testing::TestWithParam<const char*> {
 protected:
  NetConfig Config() const {
    const Json position = ParseJson(GetParam()).value();
    return SmallConfig(position, position.at("method") == "learned" ? 40 : 0);
  }
};

// fp64: only the order of sums differs.
TEST_P(DecoderTest, CachedLogitsAreThoseOfTheWholeSequenceReadAnew) {
  Transformer net = SmallNet(Config(), "fp64");
  const at::Tensor ids_BT = SmallTokens(3, 24);
  for (const std::int64_t n_prompt : {1, 17}) {
    Decoder decoder = Decoder::Make(net, 3, 24).value();
    EXPECT_LT(MaxDifference(decoder.Feed(ids_BT.narrow(1, 0, n_prompt)),
                            Anew(net, ids_BT.narrow(1, 0, n_prompt))),
              1e-12);
    for (std::int64_t t = n_prompt; t < 24; ++t) {
      EXPECT_LT(MaxDifference(decoder.Feed(ids_BT.narrow(1, t, 1)),
                              Anew(net, ids_BT.narrow(1, 0, t + 1))),
                1e-12)
          << "token " << t;
    }
    EXPECT_EQ(decoder.n_fed(), 24);
  }
}

TEST_P(DecoderTest, APromptThroughTheFusedAttentionFillsTheSameCache) {
  NetConfig config = Config();
  config.model.d_model = 32;  // the fused one has heads of 8, 16, ... channels
  Transformer exact = SmallNet(config, "fp64");
  Transformer fused = SmallNet(config, "fp32", 7, AttentionBackend::kFused);
  const std::int64_t n_prompt = config.model.n_positions > 0 ? 33 : 200;  // several tiles of keys
  const std::int64_t n = n_prompt + 7;
  const at::Tensor ids_BT = SmallTokens(3, n), prompt_BT = ids_BT.narrow(1, 0, n_prompt);
  Decoder decoder = Decoder::Make(fused, 3, n).value();
  const double size = Anew(exact, prompt_BT).abs().max().item<double>();
  const at::Tensor expected = Anew(exact, prompt_BT);
  EXPECT_LT(MaxDifference(decoder.Feed(prompt_BT), expected), 1e-5 * size);
  EXPECT_LT(MaxDifference(Anew(fused, prompt_BT), expected), 1e-5 * size);
  for (std::int64_t t = n_prompt; t < n; ++t) {
    EXPECT_LT(MaxDifference(decoder.Feed(ids_BT.narrow(1, t, 1)),
                            Anew(exact, ids_BT.narrow(1, 0, t + 1))),
              1e-5 * size)
        << "token " << t;
  }
}

// The prompt is read in two parts: before the second one, the caches hold tokens.
TEST_P(DecoderTest, TheLastTokenAloneIsAsAmongAllTokensAndLeavesTheSameCaches) {
  Transformer net = SmallNet(Config(), "fp64");
  const at::NoGradGuard no_grad;
  const at::Tensor ids_BT = SmallTokens(3, 24);
  const std::unique_ptr<NetState> all = net.NewState(3, 24), last = net.NewState(3, 24);
  for (const auto& [begin, n] : {std::pair<std::int64_t, std::int64_t>{0, 17}, {17, 7}}) {
    const at::Tensor part_BT = ids_BT.narrow(1, begin, n);
    const at::Tensor all_BTC = net.Read(part_BT, *all);
    const at::Tensor last_B1C = net.ReadLast(part_BT, *last);
    ASSERT_EQ(last_B1C.sizes(), at::IntArrayRef({3, 1, all_BTC.size(2)}));
    EXPECT_LT(MaxDifference(last_B1C, all_BTC.narrow(1, n - 1, 1)), 1e-12);
  }
  const auto& of_all = static_cast<TransformerState&>(*all).caches().of_layers;
  const auto& of_last = static_cast<TransformerState&>(*last).caches().of_layers;
  for (std::size_t l = 0; l < of_all.size(); ++l) {
    EXPECT_EQ(of_last[l].n, 24);
    EXPECT_TRUE(at::equal(of_last[l].k_BHTD, of_all[l].k_BHTD)) << "layer " << l;
    EXPECT_TRUE(at::equal(of_last[l].v_BHTD, of_all[l].v_BHTD)) << "layer " << l;
  }
}

// More than one block of 128 queries and several tiles of keys, at offsets that are a multiple of
// neither.
TEST_P(DecoderTest, APromptInCutsGivesTheLogitsOfThePromptAtOnce) {
  NetConfig config = Config();
  config.model.d_model = 32;
  const bool has_table = config.model.n_positions > 0;
  const std::int64_t n = has_table ? 40 : 420;
  const at::Tensor ids_BT = SmallTokens(2, n);
  Transformer exact = SmallNet(config, "fp64");
  const at::Tensor expected = Anew(exact, ids_BT);
  const double size = expected.abs().max().item<double>();
  const auto read = [&](Transformer& net, std::initializer_list<std::int64_t> cuts) {
    Decoder decoder = Decoder::Make(net, 2, n).value();
    at::Tensor logits;
    for (const std::int64_t cut : cuts) {
      const std::int64_t n_fed = std::min(cut, n - decoder.n_fed());
      if (n_fed > 0) logits = decoder.Feed(ids_BT.narrow(1, decoder.n_fed(), n_fed));
    }
    EXPECT_EQ(decoder.n_fed(), n);
    return logits;
  };
  for (const auto& cuts : {std::initializer_list<std::int64_t>{3, 30, 1, 200, 400},
                           std::initializer_list<std::int64_t>{13, 5, 300, 2, 400}}) {
    EXPECT_LT(MaxDifference(read(exact, cuts), expected), 1e-11);
    Transformer fused = SmallNet(config, "fp32", 7, AttentionBackend::kFused);
    EXPECT_LT(MaxDifference(read(fused, cuts), expected), 1e-5 * size);
    const auto torch =
        Transformer::Make(config, fused.parameters(), AttentionBackend::kTorch, fused.compute());
    if (!torch.ok()) continue;  // a bias
    Transformer plain = SmallNet(config, "fp32", 7, AttentionBackend::kTorch);
    EXPECT_LT(MaxDifference(read(plain, cuts), expected), 1e-5 * size);
  }
}

// 256 texts are read in parts of 32 tokens.
TEST_P(DecoderTest, ManyTokensAreReadInPartsAndGiveTheLogitsOfAllAtOnce) {
  NetConfig config = Config();
  config.model.d_model = 32;
  const at::NoGradGuard no_grad;
  const at::Tensor ids_BT = SmallTokens(256, 40);
  const auto expect_same = [&](Transformer net, double error) {
    const std::unique_ptr<NetState> state = net.NewState(256, 40);
    const at::Tensor at_once =
        HeadLogits(net.ReadLast(ids_BT, *state).select(1, 0), net.head(), net.compute());
    Decoder decoder = Decoder::Make(net, 256, 40).value();
    const double size = at_once.abs().max().item<double>();
    EXPECT_LT(MaxDifference(decoder.Feed(ids_BT), at_once), error * size);
    EXPECT_EQ(decoder.n_fed(), 40);
  };
  expect_same(SmallNet(config, "fp64"), 1e-13);
  expect_same(SmallNet(config, "fp32", 7, AttentionBackend::kFused), 1e-5);
}

TEST_P(DecoderTest, TheMostLikelyTokenIsWrittenEachTimeWithACacheOrWithout) {
  Transformer net = SmallNet(Config(), "fp64");
  const at::Tensor prompt_BT = SmallTokens(2, 9);
  at::Tensor ids_BT = prompt_BT;
  for (std::int64_t i = 0; i < 7; ++i) {
    ids_BT = at::cat({ids_BT, at::argmax(Anew(net, ids_BT), 1, true)}, 1);
  }
  for (const bool cache : {true, false}) {
    const Generated written = Generate(net, prompt_BT, {.new_tokens = 7, .cache = cache}).value();
    EXPECT_TRUE(at::equal(written.tokens_BT, ids_BT));
    for (std::int64_t i = 0; i < 7; ++i) {
      EXPECT_LT(
          MaxDifference(written.logits_BNV.select(1, i), Anew(net, ids_BT.narrow(1, 0, 9 + i))),
          1e-12)
          << "token " << i;
    }
  }
}

// The oracle is each prompt alone, without a cache: the whole text is read again for each token.
TEST_P(DecoderTest, PromptsOfOtherLengthsInTheBatchChangeNothing) {
  Transformer net = SmallNet(Config(), "fp64");
  const std::vector<std::int64_t> lengths = {9, 5, 12};
  constexpr std::int64_t n_new = 6, longest = 12;
  const at::Tensor prompt_BT = SmallTokens(3, longest);
  for (const bool cache : {true, false}) {
    std::vector<std::vector<std::int64_t>> told(3);
    const Generated all = Generate(net, prompt_BT,
                                   {.new_tokens = n_new,
                                    .cache = cache,
                                    .prompt_lengths = lengths,
                                    .on_step =
                                        [&](std::span<const std::int64_t> ids) {
                                          for (std::size_t b = 0; b < 3; ++b) {
                                            if (ids[b] >= 0) told[b].push_back(ids[b]);
                                          }
                                          return true;
                                        }})
                              .value();
    for (std::int64_t b = 0; b < 3; ++b) {
      const std::int64_t n = lengths[static_cast<std::size_t>(b)];
      const Generated alone = Generate(net, prompt_BT.narrow(0, b, 1).narrow(1, 0, n).contiguous(),
                                       {.new_tokens = n_new, .cache = false})
                                  .value();
      EXPECT_TRUE(at::equal(all.tokens_BT.select(0, b).narrow(0, 0, n + n_new),
                            alone.tokens_BT.select(0, 0)))
          << "text " << b;
      EXPECT_LT(MaxDifference(all.logits_BNV.select(0, b), alone.logits_BNV.select(0, 0)), 1e-12)
          << "text " << b;
      const at::Tensor written = alone.tokens_BT.select(0, 0).narrow(0, n, n_new).contiguous();
      const std::int64_t* const ids = written.const_data_ptr<std::int64_t>();
      EXPECT_EQ(told[static_cast<std::size_t>(b)], std::vector<std::int64_t>(ids, ids + n_new));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Methods, DecoderTest,
    testing::Values(R"({"method":"none"})", R"({"method":"learned"})",
                    R"({"method":"learned","beyond":"wrap"})", R"({"method":"sinusoidal"})",
                    R"({"method":"rope"})", R"({"method":"rope","layout":"interleaved"})",
                    R"({"method":"alibi"})", R"({"method":"alibi","variant":"jaketae"})",
                    R"({"method":"cable"})", R"({"method":"cable","variant":"scaled"})",
                    R"({"method":"t5"})", R"({"method":"xpos"})", R"({"method":"fire"})"));

TEST(DecoderRefusalTest, TablesThatEndAndModelsThatSeeAheadAreRefused) {
  Transformer learned = SmallNet(SmallConfig("learned", 8), "fp32");
  EXPECT_TRUE(Decoder::Make(learned, 1, 8).ok());
  EXPECT_EQ(Decoder::Make(learned, 1, 9).status().code(), Code::kOutOfRange);
  NetConfig config = SmallConfig("none");
  config.model.causal = false;
  Transformer both_ways = SmallNet(config, "fp32");
  EXPECT_EQ(Decoder::Make(both_ways, 1, 8).status().code(), Code::kUnimplemented);
}

// ---- writing -----------------------------------------------------------------------------------

TEST(GenerateTest, EachTextDrawsItsOwnNumbersWhateverStandsBesideIt) {
  Transformer net = SmallNet(SmallConfig("rope"), "fp64");
  const at::Tensor prompt_1T = SmallTokens(1, 5);
  const auto drawn = [&](std::int64_t batch, std::uint64_t seed) {
    return Generate(net, prompt_1T.expand({batch, 5}).contiguous(),
                    {.new_tokens = 40, .sampling = {.temperature = 1.0, .seed = seed}})
        .value()
        .tokens_BT;
  };
  const at::Tensor three = drawn(3, 1);
  EXPECT_TRUE(at::equal(three, drawn(3, 1)));
  EXPECT_TRUE(at::equal(three.narrow(0, 0, 1), drawn(1, 1)));
  EXPECT_FALSE(at::equal(three.select(0, 0), three.select(0, 1)));
  EXPECT_FALSE(at::equal(three.select(0, 1), three.select(0, 2)));
  EXPECT_FALSE(at::equal(three, drawn(3, 2)));
}

// Zero weights: each of the 13 tokens has the same logit,
// and the draws are the uniforms themselves.
TEST(GenerateTest, DrawsAreThePhiloxNumbersOfSeedAndText) {
  const NetConfig config = SmallConfig("none");
  ParameterMap zeros = InitialParameters(ParametersOf(config.model).value(), 1);
  for (auto& [name, tensor] : zeros) tensor.zero_();
  Transformer net = Transformer::Make(config, zeros, AttentionBackend::kReference,
                                      OpenCompute("cpu", "fp32").value())
                        .value();
  const at::Tensor text_BT =
      Generate(net, SmallTokens(2, 1),
               {.new_tokens = 50, .sampling = {.temperature = 1.0, .seed = 9}})
          .value()
          .tokens_BT;
  for (std::int64_t b = 0; b < 2; ++b) {
    const std::vector<double> uniforms =
        PhiloxUniforms(9, b == 0 ? "generate.0" : "generate.1", 50);
    for (std::int64_t i = 0; i < 50; ++i) {
      EXPECT_EQ(text_BT.select(0, b).select(0, 1 + i).item<std::int64_t>(),
                static_cast<std::int64_t>(13 * uniforms[static_cast<std::size_t>(i)]));
    }
  }
}

TEST(GenerateTest, AStepCanEndTheWritingAndChoicesCanBeNarrowed) {
  Transformer net = SmallNet(SmallConfig("rope"), "fp32");
  int n_steps = 0;
  const Generated written = Generate(net, SmallTokens(2, 3),
                                     {.new_tokens = 30,
                                      .sampling = {.temperature = 5.0},
                                      .n_choices = 4,
                                      .on_step =
                                          [&](std::span<const std::int64_t> ids) {
                                            EXPECT_EQ(ids.size(), 2U);
                                            return ++n_steps < 20;
                                          }})
                                .value();
  EXPECT_EQ(written.tokens_BT.sizes(), at::IntArrayRef({2, 23}));
  EXPECT_EQ(written.logits_BNV.sizes(), at::IntArrayRef({2, 20, 13}));
  EXPECT_EQ(written.tokens_BT.narrow(1, 3, 20).max().item<std::int64_t>(), 3);
}

// Its last token is written and never read: 6 + 3 - 1 positions.
TEST(GenerateTest, TablesThatEndAndModelsThatSeeAheadAreRefused) {
  Transformer learned = SmallNet(SmallConfig("learned", 8), "fp32");
  NetConfig config = SmallConfig("none");
  config.model.causal = false;
  Transformer both_ways = SmallNet(config, "fp32");
  for (const bool cache : {true, false}) {
    const auto refused = [&](Transformer& net, std::int64_t n) {
      return Generate(net, SmallTokens(1, 6), {.new_tokens = n, .cache = cache}).status();
    };
    EXPECT_TRUE(refused(learned, 3).ok());
    EXPECT_EQ(refused(learned, 4).code(), Code::kOutOfRange);
    EXPECT_NE(refused(learned, 4).message().find("\"learned\""), std::string::npos);
    EXPECT_EQ(refused(both_ways, 1).code(), Code::kInvalidArgument);
  }
}

TEST(GenerateTest, AnExtensionByLengthHasNoCacheBeyondItsLengthAndIsReadAnew) {
  NetConfig config = SmallConfig("rope");
  config.extension =
      ResolveExtension({{"method", "dynamic_ntk"}, {"factor", 2}, {"original_length", 8}}).value();
  Transformer net = SmallNet(config, "fp64");
  EXPECT_TRUE(Generate(net, SmallTokens(1, 6), {.new_tokens = 3}).ok());
  const Status refused = Generate(net, SmallTokens(1, 6), {.new_tokens = 9}).status();
  EXPECT_EQ(refused.code(), Code::kUnimplemented);
  EXPECT_NE(refused.message().find("\"dynamic_ntk\""), std::string::npos);

  const Generated written =
      Generate(net, SmallTokens(1, 6), {.new_tokens = 9, .cache = false}).value();
  for (std::int64_t i = 0; i < 9; ++i) {
    EXPECT_TRUE(at::equal(written.logits_BNV.select(1, i),
                          Anew(net, written.tokens_BT.narrow(1, 0, 6 + i))));
  }
}

TEST(GenerateTest, LogitsThatAreNoNumbersAreAnErrorThatNamesTextAndToken) {
  Transformer net = SmallNet(SmallConfig("none"), "fp32");
  at::Tensor(net.parameters().at("transformer.wte.weight")).select(0, 3).fill_(std::nan(""));
  const Status status = Generate(net, SmallTokens(2, 4), {.new_tokens = 2}).status();
  EXPECT_EQ(status.code(), Code::kAborted);
  EXPECT_TRUE(status.message().starts_with("text 0, new token 0: ")) << status.message();
}

// ---- the stopwatch -----------------------------------------------------------------------------

TEST(NetThroughputTest, EachDirectionTakesTimeAndMemoryAndLeavesTheModelAsItWas) {
  Transformer net = SmallNet(SmallConfig("cable"), "fp32");
  const at::Tensor before = Anew(net, SmallTokens(1, 8));
  std::int64_t n_weights = 0;
  for (const auto& [name, tensor] : net.parameters()) n_weights += tensor.numel();
  NetThroughput probe(net);
  const auto peak = [&](ProbeShape::Direction direction) {
    EXPECT_TRUE(
        probe.Prepare({.direction = direction, .batch = 2, .context_length = 16, .new_tokens = 3})
            .ok());
    probe.ResetPeak();
    for (int i = 0; i < 3; ++i) EXPECT_GT(probe.Step().value(), 0.0);
    EXPECT_EQ(probe.Peak().source, "cpu_allocator");
    return probe.Peak().allocated_bytes;
  };
  const std::int64_t forward = peak(ProbeShape::Direction::kForward);
  const std::int64_t generate = peak(ProbeShape::Direction::kGenerate);
  const std::int64_t train = peak(ProbeShape::Direction::kTrainStep);
  // fp32 weights alone; beside them keys and values of 19 tokens, 2 layers, 2 sequences of width 8;
  // and for training weights, gradients and two moments.
  EXPECT_GE(forward, 4 * n_weights);
  EXPECT_GE(generate, 4 * (n_weights + 19 * 2 * 2 * 2 * 8));
  EXPECT_GE(train, 16 * n_weights);
  EXPECT_GT(train, forward);
  EXPECT_TRUE(at::equal(Anew(net, SmallTokens(1, 8)), before));
}

TEST(NetThroughputTest, ASequencePastATableIsRefusedInEachDirection) {
  Transformer net = SmallNet(SmallConfig("learned", 8), "fp32");
  NetThroughput probe(net);
  const auto code = [&](ProbeShape::Direction direction, std::int64_t length) {
    return probe.Prepare({.direction = direction, .context_length = length, .new_tokens = 2})
        .code();
  };
  EXPECT_EQ(code(ProbeShape::Direction::kTrainStep, 8), Code::kOk);
  EXPECT_EQ(code(ProbeShape::Direction::kTrainStep, 9), Code::kOutOfRange);
  EXPECT_EQ(code(ProbeShape::Direction::kForward, 9), Code::kOutOfRange);
  EXPECT_EQ(code(ProbeShape::Direction::kGenerate, 6), Code::kOk);
  EXPECT_EQ(code(ProbeShape::Direction::kGenerate, 7), Code::kOutOfRange);
}

TEST(NetThroughputTest, UnderAPlanOfKeysATrainStepIsRefusedAndReadingIsTimed) {
  NetConfig config = SmallConfig("rope");
  config.extension =
      ResolveExtension({{"method", "rerope"}, {"window", 4}, {"original_length", 16}}).value();
  Transformer net = SmallNet(config, "fp32");
  NetThroughput probe(net);
  const auto prepare = [&](ProbeShape::Direction direction) {
    return probe.Prepare({.direction = direction, .context_length = 32, .new_tokens = 2});
  };
  const Status status = prepare(ProbeShape::Direction::kTrainStep);
  EXPECT_EQ(status.code(), Code::kUnimplemented);
  EXPECT_NE(status.message().find("extension \"rerope\""), std::string::npos) << status.message();
  for (const auto direction : {ProbeShape::Direction::kForward, ProbeShape::Direction::kGenerate}) {
    ASSERT_TRUE(prepare(direction).ok());
    EXPECT_GT(probe.Step().value(), 0.0);
  }
  config.extension = ResolveExtension({{"method", "pi"}, {"factor", 4.0}}).value();
  Transformer scaled = SmallNet(config, "fp32");
  NetThroughput of_scaled(scaled);
  EXPECT_TRUE(
      of_scaled.Prepare({.direction = ProbeShape::Direction::kTrainStep, .context_length = 32})
          .ok());
  EXPECT_GT(of_scaled.Step().value(), 0.0);
}

TEST(NetThroughputTest, MoreMemoryThanThereIsIsAStatus) {
  Transformer net = SmallNet(SmallConfig("none"), "fp32");
  NetThroughput probe(net);
  // Keys of 2^46 tokens: more than an address can name.
  const Status status = probe.Prepare({.direction = ProbeShape::Direction::kGenerate,
                                       .context_length = 4,
                                       .new_tokens = std::int64_t{1} << 46});
  EXPECT_EQ(status.code(), Code::kResourceExhausted) << status.message();
}

}  // namespace
}  // namespace longrun
