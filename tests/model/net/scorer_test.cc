#include "model/net/scorer.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "model/evaluation/prefix_pass.h"
#include "model/evaluation/window.h"
#include "model/extension/extension.h"
#include "model/net/head.h"
#include "tests/model/net/small_model.h"

namespace longrun {
namespace {

std::vector<std::int32_t> Ids(std::int64_t n) {
  const at::Tensor tokens = SmallTokens(1, n);
  const std::int64_t* data = tokens.const_data_ptr<std::int64_t>();
  return std::vector<std::int32_t>(data, data + n);
}

TEST(NetScorerTest, GivesTheNllOfEachScoredTokenInItsWindow) {
  Transformer net = SmallNet(SmallConfig("cable"), "fp32");
  const std::vector<std::int32_t> ids = Ids(40);
  const std::vector<Window> windows = {
      {.context_begin = 0, .score_begin = 1, .score_end = 9},
      {.context_begin = 8, .score_begin = 9, .score_end = 17},
      {.context_begin = 3, .score_begin = 30, .score_end = 33},
      {.context_begin = 4, .score_begin = 4, .score_end = 6, .bos = true}};
  NetScorer scorer(net, /*bos_id=*/12);

  const auto nll = scorer.Nll(ids, windows);

  ASSERT_TRUE(nll.ok()) << nll.status().message();
  const at::NoGradGuard no_grad;
  for (std::size_t w = 0; w < windows.size(); ++w) {
    const Window& window = windows[w];
    ASSERT_EQ((*nll)[w].size(), static_cast<std::size_t>(window.score_end - window.score_begin));
    // Token by token, each from its own prefix alone.
    for (std::int64_t t = window.score_begin; t < window.score_end; ++t) {
      std::vector<std::int64_t> fed;
      if (window.bos) fed.push_back(12);
      for (std::int64_t u = window.context_begin; u < t; ++u) {
        fed.push_back(ids[static_cast<std::size_t>(u)]);
      }
      const at::Tensor prefix = at::empty({1, static_cast<std::int64_t>(fed.size())}, at::kLong);
      std::copy(fed.begin(), fed.end(), prefix.data_ptr<std::int64_t>());
      const at::Tensor last = net.Hidden(prefix).select(1, prefix.size(1) - 1);
      const at::Tensor logp = HeadLogits(last, net.head(), net.compute()).log_softmax(1);
      const double expected = -logp[0][ids[static_cast<std::size_t>(t)]].item<double>();
      EXPECT_NEAR((*nll)[w][static_cast<std::size_t>(t - window.score_begin)], expected, 1e-5);
    }
  }
}

// The most likely token after a text, from a pass over the whole of it.
std::int32_t LikeliestAfter(Transformer& net, const std::vector<std::int32_t>& text) {
  const at::NoGradGuard no_grad;
  const at::Tensor ids = at::empty({1, static_cast<std::int64_t>(text.size())}, at::kLong);
  std::ranges::copy(text, ids.data_ptr<std::int64_t>());
  const at::Tensor last = net.Hidden(ids).select(1, ids.size(1) - 1);
  return static_cast<std::int32_t>(
      HeadLogits(last, net.head(), net.compute()).argmax(1).item<std::int64_t>());
}

TEST(NetScorerTest, ContinuesPromptsOfAnyLengthUntilTheirStop) {
  const Json dynamic = {{"method", "dynamic_ntk"}, {"factor", 2.0}, {"original_length", 12}};
  for (const Json& extension : {Json(), dynamic}) {
    NetConfig config = SmallConfig("rope");
    if (!extension.is_null()) config.extension = ResolveExtension(extension).value();
    Transformer net = SmallNet(config, "fp32");
    const std::vector<std::int32_t> ids = Ids(60);
    const auto part = [&](std::ptrdiff_t begin, std::ptrdiff_t n) {
      return std::vector<std::int32_t>(ids.begin() + begin, ids.begin() + begin + n);
    };
    // Two of one shape side by side, another length far away and one nearby, another number of
    // tokens.
    std::vector<Prompt> prompts = {{.tokens = part(0, 9), .new_tokens = 7},
                                   {.tokens = part(20, 9), .new_tokens = 7},
                                   {.tokens = part(5, 17), .new_tokens = 7},
                                   {.tokens = part(7, 14), .new_tokens = 5},
                                   {.tokens = part(5, 17), .new_tokens = 1}};
    NetScorer scorer(net);

    const auto written = scorer.Continue(prompts);

    ASSERT_TRUE(written.ok()) << written.status().message();
    ASSERT_EQ(written->size(), prompts.size());
    for (std::size_t p = 0; p < prompts.size(); ++p) {
      std::vector<std::int32_t> text = prompts[p].tokens;
      ASSERT_EQ(static_cast<std::int64_t>((*written)[p].size()), prompts[p].new_tokens);
      for (const std::int32_t id : (*written)[p]) {
        EXPECT_EQ(id, LikeliestAfter(net, text)) << p << " after " << text.size();
        text.push_back(id);
      }
    }
    // A stop ends its own prompt only, and is left out.
    const std::vector<std::int32_t> first = (*written)[0], second = (*written)[1];
    prompts[0].stop = {first[3]};
    const auto stopped = scorer.Continue(prompts);
    ASSERT_TRUE(stopped.ok());
    const auto end = std::ranges::find(first, first[3]);
    EXPECT_EQ((*stopped)[0], std::vector<std::int32_t>(first.begin(), end));
    EXPECT_EQ((*stopped)[1], second);
  }
}

TEST(NetScorerTest, EachPromptDrawsWithItsOwnSeedWhateverStandsBesideIt) {
  Transformer net = SmallNet(SmallConfig("rope"), "fp64");
  NetScorer scorer(net);
  const auto prompt = [](std::int32_t n, double temperature, std::uint64_t seed) {
    return Prompt{
        .tokens = Ids(n), .new_tokens = 12, .sampling = {.temperature = temperature, .seed = seed}};
  };
  const std::vector<Prompt> all = {prompt(6, 1.0, 1), prompt(6, 1.0, 2), prompt(6, 0.0, 1),
                                   prompt(8, 1.0, 1)};
  const auto together = scorer.Continue(all);
  ASSERT_TRUE(together.ok());
  for (std::size_t p = 0; p < all.size(); ++p) {
    EXPECT_EQ((*together)[p], scorer.Continue({&all[p], 1}).value().front()) << p;
  }
  EXPECT_NE((*together)[0], (*together)[1]);  // other seeds
  EXPECT_NE((*together)[0], (*together)[2]);  // the most likely tokens
}

TEST(NetScorerTest, AnAnswerDoesNotEndBeforeItsLeastTokens) {
  Transformer net = SmallNet(SmallConfig("rope"), "fp64");
  NetScorer scorer(net);
  Prompt prompt = {.tokens = Ids(6), .new_tokens = 8};
  const std::vector<std::int32_t> free = scorer.Continue({&prompt, 1}).value().front();
  prompt.stop = {free.front()};
  EXPECT_TRUE(scorer.Continue({&prompt, 1}).value().front().empty());
  prompt.min_new_tokens = 3;
  const std::vector<std::int32_t> longer = scorer.Continue({&prompt, 1}).value().front();
  ASSERT_GE(longer.size(), 3u);
  EXPECT_EQ(std::ranges::find(longer, free.front()), longer.end());
  // Another prompt beside it is not held back.
  const std::vector<Prompt> both = {prompt, {.tokens = Ids(6), .new_tokens = 8}};
  const auto written = scorer.Continue(both);
  ASSERT_TRUE(written.ok());
  EXPECT_EQ((*written)[0], longer);
  EXPECT_EQ((*written)[1], free);
}

TEST(NetScorerTest, APromptMustFitThePositionTableAndTheVocabulary) {
  constexpr std::int64_t n_rows = 8;
  Transformer learned = SmallNet(SmallConfig("learned", n_rows), "fp32");
  NetScorer scorer(learned);
  const std::vector<Prompt> fits = {{.tokens = Ids(n_rows), .new_tokens = 1}};
  const std::vector<Prompt> longer = {{.tokens = Ids(n_rows), .new_tokens = 2}};
  EXPECT_TRUE(scorer.Continue(fits).ok());
  EXPECT_EQ(scorer.Continue(longer).status().code(), Code::kOutOfRange);
  // Together they would take more rows than each by itself.
  const std::vector<Prompt> both = {{.tokens = Ids(2), .new_tokens = 7},
                                    {.tokens = Ids(n_rows), .new_tokens = 1}};
  const auto written = scorer.Continue(both);
  ASSERT_TRUE(written.ok()) << written.status().message();
  EXPECT_EQ((*written)[0].size(), 7u);
  EXPECT_EQ((*written)[1].size(), 1u);
  const std::vector<Prompt> unknown = {{.tokens = {1, 100'000}, .new_tokens = 1}};
  EXPECT_EQ(scorer.Continue(unknown).status().code(), Code::kInvalidArgument);
}

// Against the logits of one sequence at a time, as `longrun-trainer forward` writes them.
TEST(NetScorerTest, GivesTheNllOfHiddenTokensFromBothSides) {
  for (const Json& position :
       {Json("rope"), Json{{"method", "cable"}, {"variant", "bidirectional"}}}) {
    Transformer net = SmallNet(SmallEncoder(position), "fp32");
    const std::vector<std::int32_t> ids = Ids(40);
    constexpr std::int32_t kMask = 12;
    std::vector<MaskedSequence> sequences;
    // Lengths 9, 9, 9, 30; one, two, no and three places.
    for (const auto& [begin, n, places] :
         std::vector<std::tuple<std::size_t, std::size_t, std::vector<std::int64_t>>>{
             {0, 9, {4}}, {7, 9, {0, 8}}, {20, 9, {}}, {5, 30, {1, 2, 29}}}) {
      MaskedSequence sequence;
      sequence.tokens.assign(ids.begin() + static_cast<std::ptrdiff_t>(begin),
                             ids.begin() + static_cast<std::ptrdiff_t>(begin + n));
      for (const std::int64_t t : places) {
        sequence.positions.push_back(t);
        sequence.targets.push_back(
            std::exchange(sequence.tokens[static_cast<std::size_t>(t)], kMask));
      }
      sequences.push_back(sequence);
    }
    NetScorer scorer(net, -1, kMask);
    EXPECT_EQ(scorer.mask_token(), std::optional<std::int32_t>(kMask));

    const auto nll = scorer.MaskedNll(sequences);

    ASSERT_TRUE(nll.ok()) << nll.status().message();
    const at::NoGradGuard no_grad;
    for (std::size_t s = 0; s < sequences.size(); ++s) {
      const MaskedSequence& sequence = sequences[s];
      ASSERT_EQ((*nll)[s].size(), sequence.positions.size());
      const at::Tensor fed =
          at::empty({1, static_cast<std::int64_t>(sequence.tokens.size())}, at::kLong);
      std::copy(sequence.tokens.begin(), sequence.tokens.end(), fed.data_ptr<std::int64_t>());
      const at::Tensor logp =
          HeadLogits(net.Hidden(fed)[0], net.head(), net.compute()).log_softmax(1);
      for (std::size_t i = 0; i < sequence.positions.size(); ++i) {
        const double expected = -logp[sequence.positions[i]][sequence.targets[i]].item<double>();
        EXPECT_NEAR((*nll)[s][i], expected, 1e-5);
      }
    }
  }
}

TEST(NetScorerTest, ADecoderIsNotAskedForHiddenTokensNorAnybodyForUnknownOnes) {
  const std::vector<MaskedSequence> one = {
      {.tokens = {1, 12, 2}, .positions = {1}, .targets = {5}}};
  Transformer decoder = SmallNet(SmallConfig("rope"), "fp32");
  EXPECT_EQ(NetScorer(decoder, -1, 12).MaskedNll(one).status().code(), Code::kUnimplemented);
  EXPECT_EQ(NetScorer(decoder).mask_token(), std::nullopt);

  Transformer encoder = SmallNet(SmallEncoder("rope"), "fp32");
  const std::vector<MaskedSequence> unknown = {
      {.tokens = {1, -1, 2}, .positions = {1}, .targets = {5}}};
  EXPECT_EQ(NetScorer(encoder).MaskedNll(unknown).status().message(),
            "a hidden or visible token has id -1, but the model has the ids 0 to 12");
  Transformer learned = SmallNet(SmallEncoder("learned", 2), "fp32");
  EXPECT_EQ(NetScorer(learned).MaskedNll(one).status().code(), Code::kOutOfRange);
}

// Lengths share what is the same call of the network; to the bit it changes nothing.
TEST(NetScorerTest, LengthsThatShareWindowsHaveTheBitsOfLengthsThatDoNot) {
  Transformer net = SmallNet(SmallConfig("cable"), "fp32");
  const std::vector<std::int32_t> ids = Ids(60);
  NetScorer scorer(net, /*bos_id=*/12);
  WindowCache cache;
  std::int64_t n_cached = 0;
  for (const std::int64_t length : {12, 24, 48}) {
    // Three documents of 20 tokens: whole ones come again at each length that does not cut them.
    std::vector<Window> windows;
    for (std::int64_t begin = 0; begin < 60; begin += 20) {
      const std::int64_t end = std::min(begin + length - 1, begin + 20);
      windows.push_back(
          {.context_begin = begin, .score_begin = begin, .score_end = end, .bos = true});
    }
    const auto score = [&](WindowCache* kept) {
      return ScoreWindows(scorer, {.tokens = ids,
                                   .windows = windows,
                                   .windows_per_call = 3,
                                   .full_length = length - 1,
                                   .cache = kept})
          .value();
    };
    const Score alone = score(nullptr), shared = score(&cache);
    n_cached += shared.n_windows_cached;
    EXPECT_EQ(shared.nll_sum, alone.nll_sum) << length;
    for (std::size_t w = 0; w < 3; ++w) {
      EXPECT_EQ(shared.windows[w].nll_sum, alone.windows[w].nll_sum) << length;
    }
  }
  EXPECT_EQ(n_cached, 3);
}

// How many windows are one call, and how many threads carry it out, is an order of additions in
// fp32: the mean may move in its last digits (2^-24 each, over some thousand additions), and no
// further. A run keeps one number of both (sweeps/run.h), so its cells do not move at all.
TEST(NetScorerTest, CallsOfAnotherSizeAndOtherThreadsGiveTheSamePerplexity) {
  Transformer net = SmallNet(SmallConfig("cable"), "fp32");
  const std::vector<std::int32_t> ids = Ids(241);
  NetScorer scorer(net);
  std::vector<Window> windows;
  for (std::int64_t begin = 0; begin < 240; begin += 24) {
    windows.push_back({.context_begin = begin, .score_begin = begin + 1, .score_end = begin + 25});
  }
  const auto mean_nll = [&](int threads, std::int64_t windows_per_call) {
    at::set_num_threads(threads);
    return ScoreWindows(scorer, {.tokens = ids,
                                 .windows = windows,
                                 .windows_per_call = windows_per_call,
                                 .full_length = 24})
        .value()
        .MeanNll();
  };
  const int threads_before = at::get_num_threads();
  const double reference = mean_nll(1, 1);
  for (const int threads : {1, 2, 3}) {
    for (const std::int64_t windows_per_call : {1, 3, 10}) {
      const double mean = mean_nll(threads, windows_per_call);
      EXPECT_NEAR(mean, reference, 1e-6 * reference) << threads << " " << windows_per_call;
      EXPECT_EQ(mean, mean_nll(threads, windows_per_call)) << threads << " " << windows_per_call;
    }
  }
  at::set_num_threads(threads_before);
}

// ---- prefixes ----------------------------------------------------------------------------------

std::vector<float> PrefixNll(LanguageModel& model, std::span<const std::int32_t> text,
                             std::int64_t n, bool bos) {
  return model.PrefixNll({.tokens = text, .n_text = std::ssize(text), .n_targets = n, .bos = bos})
      .value();
}

NetConfig Extended(const Json& given) {
  NetConfig config = SmallConfig("rope");
  config.model.d_model = 32;
  if (!given.is_null()) config.extension = ResolveExtension(given).value();
  return config;
}

// Lengths within a part, at the ends of parts and of the text.
TEST(NetScorerTest, ALongerPassGivesTheBitsOfEveryShorterOne) {
  constexpr std::int64_t kTokens = 620;
  const std::vector<std::int32_t> ids = Ids(kTokens);
  const std::vector<Json> readings = {
      Json(),
      {{"method", "pi"}, {"factor", 4}},
      {{"method", "self_extend"}, {"group", 8}, {"window", 32}, {"original_length", 256}},
      {{"method", "gali"}, {"local_window", 100}, {"chunk", 300}, {"original_length", 256}},
      {{"method", "gali"}, {"noise", "gaussian"}, {"original_length", 256}}};
  for (const Json& given : readings) {
    for (const AttentionBackend backend :
         {AttentionBackend::kReference, AttentionBackend::kFused}) {
      Transformer net = SmallNet(Extended(given), "fp32", 7, backend);
      NetScorer scorer(net, /*bos_id=*/12);
      for (const bool bos : {true, false}) {
        const std::int64_t n_all = kTokens - (bos ? 0 : 1);
        ASSERT_TRUE(scorer.SharesPrefixes(n_all));
        const std::vector<float> longest = PrefixNll(scorer, ids, n_all, bos);
        ASSERT_EQ(std::ssize(longest), n_all);
        for (const std::int64_t n : {64L, 512L, 600L}) {
          const std::vector<float> shorter = PrefixNll(scorer, ids, n, bos);
          EXPECT_EQ(shorter, std::vector<float>(longest.begin(), longest.begin() + n))
              << given.dump() << " " << n;
        }
        // The whole text at once gives the same, except for rounding.
        const Window whole = {.score_begin = bos ? 0 : 1, .score_end = kTokens, .bos = bos};
        const std::vector<float> at_once = scorer.Nll(ids, {&whole, 1}).value().front();
        for (std::size_t i = 0; i < at_once.size(); ++i) {
          ASSERT_NEAR(longest[i], at_once[i], 2e-4) << given.dump() << " " << i;
        }
      }
    }
  }
}

// With a rotation that depends on the length of the text, each length is a text of its own.
TEST(NetScorerTest, APassByLengthIsThatOfTheTextAtOnce) {
  const std::vector<std::int32_t> ids = Ids(700);
  Transformer net = SmallNet(
      Extended({{"method", "dynamic_ntk"}, {"factor", 4}, {"original_length", 256}}), "fp32");
  NetScorer scorer(net);
  EXPECT_TRUE(scorer.SharesPrefixes(256));
  EXPECT_FALSE(scorer.SharesPrefixes(257));
  const std::vector<float> of_300 = PrefixNll(scorer, ids, 300, false);
  const Window window = {.score_begin = 1, .score_end = 301};
  EXPECT_EQ(of_300, scorer.Nll(ids, {&window, 1}).value().front());
  EXPECT_NE(of_300.at(200), PrefixNll(scorer, ids, 600, false).at(200));
  Transformer grown = SmallNet(SmallConfig("xpos"), "fp32");
  EXPECT_FALSE(NetScorer(grown).SharesPrefixes(10));
}

// The text goes on beyond the original length, and so does the part in which the last targets lie.
TEST(NetScorerTest, APassWithinTheOriginalLengthReadsNothingBeyondIt) {
  const std::vector<std::int32_t> ids = Ids(900);
  for (const std::int64_t original : {24, 300, 512, 600}) {
    for (const Json& given :
         {Json{{"method", "dynamic_ntk"}, {"factor", 4}, {"original_length", original}},
          Json{{"method", "dca"}, {"temperature", 0.1}, {"original_length", original}}}) {
      SCOPED_TRACE(given.dump());
      Transformer net = SmallNet(Extended(given), "fp32");
      NetScorer scorer(net, /*bos_id=*/12);
      ASSERT_TRUE(scorer.SharesPrefixes(original));
      const std::vector<float> longest = PrefixNll(scorer, ids, original, true);
      for (const std::int64_t n : {original / 2, original - 1, original}) {
        const std::vector<float> shorter = PrefixNll(scorer, ids, n, true);
        EXPECT_EQ(shorter, std::vector<float>(longest.begin(), longest.begin() + n)) << n;
        const Window window = {.score_begin = 0, .score_end = n, .bos = true};
        const std::vector<float> at_once = scorer.Nll(ids, {&window, 1}).value().front();
        for (std::size_t i = 0; i < at_once.size(); ++i) {
          ASSERT_NEAR(shorter[i], at_once[i], 2e-4) << n << " " << i;
        }
      }
    }
  }
}

// A table of 600 positions: a pass of 520 ends there, and not at the end of a part.
TEST(NetScorerTest, APassEndsWithTheModelsPositions) {
  const std::vector<std::int32_t> ids = Ids(900);
  Transformer net = SmallNet(SmallConfig("learned", 600), "fp32");
  NetScorer scorer(net, /*bos_id=*/12);
  const std::vector<float> longest = PrefixNll(scorer, ids, 600, true);
  const std::vector<float> shorter = PrefixNll(scorer, ids, 520, true);
  EXPECT_EQ(shorter, std::vector<float>(longest.begin(), longest.begin() + 520));
  const auto beyond =
      scorer.PrefixNll({.tokens = ids, .n_text = std::ssize(ids), .n_targets = 601, .bos = true});
  EXPECT_EQ(beyond.status().code(), Code::kOutOfRange);
}

// Group 8 with window 32 reaches 416 tokens of an original length of 80: the part ends there.
TEST(NetScorerTest, APassEndsWithTheReachOfAnExtension) {
  constexpr std::int64_t kReach = 416;
  const std::vector<std::int32_t> ids = Ids(900);
  for (const Json& given :
       {Json{{"method", "self_extend"}, {"group", 8}, {"window", 32}, {"original_length", 80}},
        Json{{"method", "leaky_rerope"}, {"k", 8}, {"window", 32}, {"original_length", 80}}}) {
    SCOPED_TRACE(given.dump());
    Transformer net = SmallNet(Extended(given), "fp32");
    NetScorer scorer(net, /*bos_id=*/12);
    const std::vector<float> longest = PrefixNll(scorer, ids, kReach, true);
    for (const std::int64_t n : {1L, 64L, kReach - 1}) {
      const std::vector<float> shorter = PrefixNll(scorer, ids, n, true);
      EXPECT_EQ(shorter, std::vector<float>(longest.begin(), longest.begin() + n)) << n;
    }
    const Window window = {.score_begin = 0, .score_end = kReach, .bos = true};
    const std::vector<float> at_once = scorer.Nll(ids, {&window, 1}).value().front();
    for (std::size_t i = 0; i < at_once.size(); ++i) ASSERT_NEAR(longest[i], at_once[i], 2e-4) << i;
    const auto beyond = scorer.PrefixNll(
        {.tokens = ids, .n_text = std::ssize(ids), .n_targets = kReach + 1, .bos = true});
    EXPECT_EQ(beyond.status().code(), Code::kOutOfRange);
  }
}

// The evaluation of a network: the tokens that it reads are those of the longest length alone.
TEST(NetScorerTest, AllLengthsOfAPrefixCurveAreReadOnce) {
  class Counting final : public LanguageModel {
   public:
    explicit Counting(NetScorer& scorer) : scorer_(scorer) {}
    Result<std::vector<std::vector<float>>> Nll(std::span<const std::int32_t> tokens,
                                                std::span<const Window> windows) override {
      return scorer_.Nll(tokens, windows);
    }
    Result<std::vector<float>> PrefixNll(const Prefix& prefix) override {
      n_read += prefix.n_targets;
      return scorer_.PrefixNll(prefix);
    }
    bool SharesPrefixes(std::int64_t n) const override { return scorer_.SharesPrefixes(n); }
    std::int64_t n_read = 0;

   private:
    NetScorer& scorer_;
  };
  const std::vector<std::int32_t> ids = Ids(1200);
  const std::vector<TextSpan> documents = {{0, 600}, {601, 1200}};
  for (const Json& given : {Json(), Json{{"method", "streaming"}, {"original_length", 256}}}) {
    Transformer net = SmallNet(Extended(given), "fp32", 7, AttentionBackend::kFused);
    NetScorer scorer(net, /*bos_id=*/12);
    const std::vector<std::int64_t> lengths = {64, 256, 550};
    PrefixStore together;
    Counting counted(scorer);
    for (const std::int64_t length : lengths) {
      std::vector<Window> windows;
      for (const TextSpan& document : documents) {
        windows.push_back({.context_begin = document.begin,
                           .score_begin = document.begin,
                           .score_end = document.begin + length,
                           .bos = true});
      }
      PrefixModel one_pass(
          counted, {.documents = documents, .n_targets = length, .of_lengths = lengths}, together);
      PrefixStore own;
      PrefixModel one_per_length(scorer, {.documents = documents, .n_targets = length}, own);
      EXPECT_EQ(one_pass.Nll(ids, windows).value(), one_per_length.Nll(ids, windows).value());
    }
    EXPECT_EQ(counted.n_read, 2 * 550);
  }
}

TEST(NetScorerTest, ALearnedTableRefusesWhatLiesBeyondItUnlessToldOtherwise) {
  const std::vector<std::int32_t> ids = Ids(20);
  const std::vector<Window> fits = {{.context_begin = 0, .score_begin = 1, .score_end = 9}};
  const std::vector<Window> beyond = {{.context_begin = 0, .score_begin = 1, .score_end = 10}};
  Transformer refuse = SmallNet(SmallConfig("learned", 8), "fp32");
  NetScorer scorer(refuse);
  EXPECT_TRUE(scorer.Nll(ids, fits).ok());
  const auto refused = scorer.Nll(ids, beyond);
  EXPECT_EQ(refused.status().code(), Code::kOutOfRange);
  EXPECT_NE(refused.status().message().find("9 tokens exceeds the 8 positions of method "
                                            "\"learned\""),
            std::string::npos)
      << refused.status().message();

  for (const char* option : {"clamp", "wrap"}) {
    Transformer net = SmallNet(SmallConfig({{"method", "learned"}, {"beyond", option}}, 8), "fp32");
    EXPECT_TRUE(NetScorer(net).Nll(ids, beyond).ok()) << option;
  }
}

TEST(NetScorerTest, TokensOutsideTheVocabularyAndAMissingBosAreRefused) {
  Transformer net = SmallNet(SmallConfig("alibi"), "fp32");
  const std::vector<std::int32_t> ids = {1, 13, 2};
  const std::vector<Window> all = {{.context_begin = 0, .score_begin = 1, .score_end = 3}};
  EXPECT_EQ(NetScorer(net).Nll(ids, all).status().message(),
            "token 1 has id 13, but the model has the ids 0 to 12");
  const std::vector<Window> bos = {
      {.context_begin = 2, .score_begin = 2, .score_end = 3, .bos = true}};
  EXPECT_EQ(NetScorer(net).Nll(ids, bos).status().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace longrun
