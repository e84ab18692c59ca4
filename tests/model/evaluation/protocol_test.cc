// The plans of the protocols, and the scores that a model of closed form gets with them.
#include "model/evaluation/protocol.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "model/evaluation/perplexity.h"
#include "tests/model/evaluation/toy_model.h"

namespace longrun {
namespace {

bool Contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

constexpr std::int64_t kTokens = 23;

// Of 23 tokens, one document, with the protocol's defaults written in.
struct Case {
  std::string_view protocol;
  std::string_view params;  // JSON
  std::int64_t context_length = 0;
};

Result<std::vector<Window>> PlanOf(const Case& given, std::int64_t score_tokens = 0) {
  ASSIGN_OR_RETURN(Json params, ParseJson(given.params));
  params["context_lengths"] = {given.context_length};
  params["protocol"] = given.protocol;
  ASSIGN_OR_RETURN(const Json resolved,
                   ResolveParams(PerplexityEvaluation().params, params, "perplexity"));
  const TextSpan document = {0, kTokens};
  const PlanRequest request = {.n_tokens = kTokens,
                               .context_length = given.context_length,
                               .score_tokens = score_tokens,
                               .documents = std::span(&document, 1),
                               .params = resolved};
  const Protocol& protocol = FindProtocol(given.protocol);
  if (protocol.check != nullptr) {
    if (const auto error = protocol.check(request)) {
      return Status(Code::kInvalidArgument, error->key + ": " + error->message);
    }
  }
  return protocol.plan(request);
}

// ---- the vectors -------------------------------------------------------------------------------
// Windows, n, mean NLL and perplexity of the toy model over 23 tokens, computed in fp64 by an
// independent script; the rolling rows agree with lm-evaluation-harness's own function.

struct Vector {
  Case given;
  std::vector<Window> windows;  // empty: see the test of that case
  std::int64_t n = 0;
  double nll = 0.0;  // 0: only the perplexity is known
  double perplexity = 0.0;
};

const std::vector<Vector>& Vectors() {
  static const std::vector<Vector> vectors = {
      {{"nonoverlap", "{}", 5},
       {{0, 1, 6, false}, {5, 6, 11, false}, {10, 11, 16, false}, {15, 16, 21, false}},
       20,
       2.336262952850,
       10.342513791701},
      {{"sliding_bos", R"({"stride":3})", 8},
       {{0, 0, 7, true},
        {3, 7, 10, true},
        {6, 10, 13, true},
        {9, 13, 16, true},
        {12, 16, 19, true},
        {15, 19, 22, true},
        {18, 22, 23, true}},
       23,
       2.195472374377,
       8.984243981270},
      {{"sliding_bos", R"({"truncate":true})", 8},
       {{0, 0, 7, true}},
       7,
       2.111268645592,
       8.258712019993},
      {{"sliding_bos", R"({"stride":3})", 32},
       {{0, 0, 23, true}},
       23,
       2.139768692664,
       8.497471873970},
      {{"rolling", R"({"context_len":1})", 6},
       {{0, 0, 6, true}, {5, 6, 12, false}, {11, 12, 18, false}, {16, 18, 23, false}},
       23,
       2.274354361955,
       9.721640325042},
      {{"rolling", R"({"context_len":4})", 6},
       {{0, 0, 6, true},
        {2, 6, 9, false},
        {5, 9, 12, false},
        {8, 12, 15, false},
        {11, 15, 18, false},
        {14, 18, 21, false},
        {16, 21, 23, false}},
       23,
       2.212553119719,
       9.139019643649},
      {{"rolling", R"({"context_len":6})", 6}, {}, 23, 2.193919579346, 8.970304117535},
      {{"last_k", R"({"k":1})", 8},
       {{0, 8, 9, false}, {8, 16, 17, false}},
       2,
       0.0,
       13.469077226874},
      {{"last_k", R"({"k":4})", 8}, {{0, 5, 9, false}, {8, 13, 17, false}}, 8, 0.0, 6.107355291342},
      {{"last_k", R"({"k":8})", 8}, {{0, 1, 9, false}, {8, 9, 17, false}}, 16, 0.0, 8.330202522218},
      {{"prefix_curve", R"({"bos":false})", 8}, {{0, 1, 9, false}}, 8, 0.0, 8.219494696828},
      {{"prefix_curve", R"({"bos":false})", 16}, {{0, 1, 17, false}}, 16, 0.0, 7.719416429867},
      {{"prefix_curve", R"({"bos":false,"compat":"gali","drop_every":6})", 8},
       {{0, 1, 6, false}, {0, 7, 10, false}},
       8,
       0.0,
       9.849458943994},
      {{"prefix_curve", R"({"bos":false,"compat":"gali","drop_every":6})", 16},
       {{0, 1, 6, false}, {0, 7, 12, false}, {0, 13, 18, false}, {0, 19, 20, false}},
       16,
       0.0,
       8.982226457332},
      {{"prefix_curve", R"({"bos":false,"compat":"gali","drop_every":6})", 19},
       {{0, 1, 6, false}, {0, 7, 12, false}, {0, 13, 18, false}, {0, 19, 23, false}},
       19,
       0.0,
       8.170777084484},
  };
  return vectors;
}

TEST(ProtocolTest, PlansAndScoresAreThoseOfTheVectors) {
  const std::vector<std::int32_t> tokens(kTokens);
  for (const Vector& vector : Vectors()) {
    const std::string name =
        std::string(vector.given.protocol) + " " + std::string(vector.given.params);
    const auto windows = PlanOf(vector.given);
    ASSERT_TRUE(windows.ok()) << name << ": " << windows.status().message();
    if (!vector.windows.empty()) {
      EXPECT_EQ(*windows, vector.windows) << name;
    }
    ToyModel model;
    const Score score = ScoreWindows(model, {.tokens = tokens, .windows = *windows}).value();
    EXPECT_EQ(score.n, vector.n) << name;
    // NLLs are floats.
    if (vector.nll != 0.0) {
      EXPECT_NEAR(score.MeanNll(), vector.nll, 1e-7) << name;
    }
    EXPECT_NEAR(std::exp(score.MeanNll()), vector.perplexity, 1e-6) << name;
  }
}

// (0,0,6,BOS), then one token a window with six of context: (e - 7, e - 1, e) up to (16,22,23).
TEST(ProtocolTest, RollingWithAllTheContextHasAWindowForEachToken) {
  const auto windows = PlanOf({"rolling", R"({"context_len":6})", 6}).value();
  ASSERT_EQ(windows.size(), 18u);
  EXPECT_EQ(windows[0], (Window{0, 0, 6, true}));
  for (std::int64_t e = 7; e <= kTokens; ++e) {
    EXPECT_EQ(windows[static_cast<std::size_t>(e - 6)], (Window{e - 7, e - 1, e, false}));
  }
}

TEST(ProtocolTest, SlidingWindowsHaveTheStandardErrorOfTheVectors) {
  const std::vector<std::int32_t> tokens(kTokens);
  const auto windows = PlanOf({"sliding_bos", R"({"stride":3})", 8}).value();
  ToyModel model;
  const Score score = ScoreWindows(model, {.tokens = tokens, .windows = windows}).value();
  const double sums[] = {14.778880519142, 8.396460693840, 6.822511271788, 4.080839007292,
                         8.423033554985,  6.780425813846, 1.213713749779};
  for (std::size_t i = 0; i < 7; ++i) EXPECT_NEAR(score.windows[i].nll_sum, sums[i], 1e-6);
  EXPECT_NEAR(StandardError(score.windows).value(), 0.177786525132, 1e-7);
}

// ---- prefix_curve ------------------------------------------------------------------------------

// 22 losses are one short of 23. GALI's code divides their sum by 23: the vector is 7.444848493684.
TEST(ProtocolTest, GalisCodeDividesByTheLengthThoughLossesAreMissing) {
  const std::vector<std::int32_t> tokens(kTokens);
  const Case given = {"prefix_curve", R"({"bos":false,"compat":"gali"})", 23};
  const auto windows = PlanOf(given).value();
  EXPECT_EQ(windows, (std::vector<Window>{{0, 1, 23, false}}));
  ToyModel model;
  const Score score = ScoreWindows(model, {.tokens = tokens, .windows = windows}).value();
  const Json params =
      ResolveParams(PerplexityEvaluation().params,
                    {{"protocol", "prefix_curve"}, {"compat", "gali"}, {"context_lengths", {23}}},
                    "perplexity")
          .value();
  const Json extra = FindProtocol("prefix_curve")
                         .extra({.context_length = 23, .params = params}, windows, score)
                         .at("compat");
  EXPECT_NEAR(extra.at("perplexity").get<double>(), 7.444848493684, 1e-6);
  EXPECT_EQ(extra.at("documents"), 1);
  EXPECT_EQ(extra.at("missing"), 1);
  // As the formula of docs/evaluation.md has it, the row is the mean of what is scored.
  EXPECT_NEAR(std::exp(score.MeanNll()), 8.156158860018, 1e-6);
}

// A document may be 20 losses short, and no more; without the quirk, none.
TEST(ProtocolTest, DocumentsThatAreTooShortForALengthAreLeftOut) {
  const auto planned = [](const char* params, std::int64_t length) {
    return PlanOf({"prefix_curve", params, length}).ok();
  };
  EXPECT_TRUE(planned(R"({"bos":false})", 22));
  EXPECT_FALSE(planned(R"({"bos":false})", 23));
  EXPECT_TRUE(planned("{}", 23));
  EXPECT_FALSE(planned("{}", 24));
  EXPECT_TRUE(planned(R"({"bos":false,"compat":"gali"})", 42));
  EXPECT_FALSE(planned(R"({"bos":false,"compat":"gali"})", 43));
  EXPECT_TRUE(planned(R"({"document_tokens":23})", 4));
  EXPECT_FALSE(planned(R"({"document_tokens":24})", 4));
  const auto refused = PlanOf({"prefix_curve", R"({"document_tokens":20})", 24}).status().message();
  EXPECT_EQ(
      refused,
      "no document of document_tokens 20 tokens or more has the 24 targets of context length "
      "24: the longest has 23; lower context_lengths, or use a dataset with longer documents");
}

// The literal loop of GALI's code over ids with a begin-of-text token: each chunk of `stride` ids
// gives the losses of its own targets but the first id, and the list is cut at L.
TEST(ProtocolTest, DroppedTargetsAreThoseThatGalisCodeLosesBetweenChunks) {
  for (const bool bos : {true, false}) {
    for (const std::int64_t stride : {2, 3, 5, 7, 23, 24, 100}) {
      const std::int64_t n_ids = bos ? kTokens + 1 : kTokens;
      std::vector<std::int64_t> losses;  // tokens that are targets
      for (std::int64_t chunk = 0; chunk < n_ids; chunk += stride) {
        for (std::int64_t id = chunk + 1; id < std::min(chunk + stride, n_ids); ++id) {
          losses.push_back(bos ? id - 1 : id);
        }
      }
      for (std::int64_t length = 1; length <= std::ssize(losses); ++length) {
        const std::string params = std::string(R"({"compat":"gali","bos":)") +
                                   (bos ? "true" : "false") +
                                   ",\"drop_every\":" + std::to_string(stride) + "}";
        std::vector<std::int64_t> scored;
        const auto windows = PlanOf({"prefix_curve", params, length}).value();
        for (const Window& window : windows) {
          EXPECT_EQ(window.context_begin, 0);
          for (std::int64_t t = window.score_begin; t < window.score_end; ++t) scored.push_back(t);
        }
        EXPECT_EQ(scored, std::vector<std::int64_t>(losses.begin(), losses.begin() + length))
            << params << " " << length;
      }
    }
  }
}

TEST(ProtocolTest, TheQuirksOfPrefixCurveGoTogether) {
  const auto message = [](const char* params, std::int64_t score_tokens) {
    return PlanOf({"prefix_curve", params, 4}, score_tokens).status().message();
  };
  EXPECT_EQ(message(R"({"drop_every":4})", 0),
            "drop_every: is a quirk of GALI's code: add compat: gali, or remove it");
  EXPECT_EQ(message(R"({"drop_every":1,"compat":"gali"})", 0),
            "drop_every: chunks of 1 token have no loss: expected 0, or 2 or more");
  EXPECT_EQ(
      message("{}", 8),
      "score_tokens: has no meaning with prefix_curve: each length scores the first L targets "
      "of each document; remove it");
}

// ---- what holds of every protocol --------------------------------------------------------------

TEST(ProtocolTest, NoTokenIsScoredTwiceNorWithoutContextNorBeyondTheLength) {
  for (const Protocol* const protocol : Protocols()) {
    for (const std::int64_t length : {2, 3, 5, 8, 22}) {
      const char* params = protocol->name == "last_k" ? R"({"k":2})" : "{}";
      const auto windows = PlanOf({protocol->name, params, length}).value();
      std::int64_t next = 0;
      for (const Window& window : windows) {
        EXPECT_GE(window.score_begin, next) << protocol->name << length;
        EXPECT_LT(window.score_begin, window.score_end);
        const std::int64_t bos = window.bos ? 1 : 0;
        EXPECT_GE(window.score_begin - window.context_begin + bos, 1);
        EXPECT_LE(window.score_end - 1 - window.context_begin + bos, length);
        next = window.score_end;
      }
      EXPECT_LE(next, kTokens);
    }
  }
}

TEST(ProtocolTest, EveryLengthScoresTheSameTokensOnceTheirNumberIsGiven) {
  for (const char* protocol : {"nonoverlap", "sliding_bos", "rolling", "per_position"}) {
    for (const std::int64_t length : {2, 3, 5, 8, 16}) {
      const auto windows = PlanOf({protocol, "{}", length}, 16).value();
      const std::int64_t first = windows[0].bos ? 0 : 1;
      std::int64_t next = first;
      for (const Window& window : windows) {
        EXPECT_EQ(window.score_begin, next) << protocol << length;
        next = window.score_end;
      }
      EXPECT_EQ(next, first + 16) << protocol << length;
    }
  }
}

TEST(ProtocolTest, LastKScoresTheSameTokensWhereWindowsEndAtTheSamePlaces) {
  const auto scored = [](std::int64_t length) {
    std::vector<std::pair<std::int64_t, std::int64_t>> spans;
    const auto windows = PlanOf({"last_k", R"({"k":2,"every":8})", length}).value();
    for (const Window& w : windows) {
      EXPECT_EQ(w.score_end - 1 - w.context_begin, length);
      spans.emplace_back(w.score_begin, w.score_end);
    }
    return spans;
  };
  EXPECT_EQ(scored(8), (std::vector<std::pair<std::int64_t, std::int64_t>>{{7, 9}, {15, 17}}));
  EXPECT_EQ(scored(2), scored(8));
  EXPECT_EQ(scored(5), scored(8));
}

TEST(ProtocolTest, UniformModelHasThePerplexityOfItsVocabularyUnderEveryProtocol) {
  const std::vector<std::int32_t> tokens(kTokens);
  ConstantModel model(static_cast<float>(std::log(256.0)));
  for (const Vector& vector : Vectors()) {
    const auto windows = PlanOf(vector.given).value();
    const Score score = ScoreWindows(model, {.tokens = tokens, .windows = windows}).value();
    EXPECT_NEAR(std::exp(score.MeanNll()), 256.0, 1e-3) << vector.given.protocol;
  }
}

// By hand: fixed edges are 1 + floor(i L / B).
TEST(ProtocolTest, BucketsCoverEveryContextOnce) {
  const auto edges = [](std::int64_t length, std::int64_t buckets, const char* spacing) {
    return FindProtocol("per_position")
        .bucket_edges({.n_tokens = 100,
                       .context_length = length,
                       .params = {{"buckets", buckets}, {"spacing", spacing}}});
  };
  EXPECT_EQ(edges(8, 4, "fixed"), (std::vector<std::int64_t>{1, 3, 5, 7, 9}));
  EXPECT_EQ(edges(3, 64, "fixed"), (std::vector<std::int64_t>{1, 2, 3, 4}));
  EXPECT_EQ(edges(3, 64, "log"), (std::vector<std::int64_t>{1, 2, 3, 4}));
  EXPECT_EQ(edges(8, 1, "log"), (std::vector<std::int64_t>{1, 9}));
  EXPECT_EQ(edges(1023, 10, "log"),
            (std::vector<std::int64_t>{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}));
}

TEST(ProtocolTest, TextThatIsTooShortIsRefused) {
  EXPECT_EQ(PlanOf({"last_k", R"({"k":1})", 23}).status().message(),
            "the first window ends at token 23, but only tokens up to 22 can be scored: lower "
            "context_length, or give the split more text");
  EXPECT_EQ(
      PlanOf({"last_k", R"({"k":1,"every":30})", 8}).status().message(),
      "every: the first window ends at token 30, but only tokens up to 22 can be scored: lower it, "
      "or give the split more text");
  const auto empty = FindProtocol("sliding_bos")
                         .plan({.n_tokens = 23,
                                .context_length = 8,
                                .params = {{"stride", 0}, {"truncate", false}}});
  EXPECT_EQ(empty.status().message(), "the first 23 tokens hold no text");
}

// By hand, of documents [0, 1), [1, 1), [1, 4) with L = 3 (two tokens beside the BOS).
TEST(ProtocolTest, DocumentsOfOneTokenOrNoneHaveTheirWindowsOrNone) {
  const TextSpan documents[] = {{0, 1}, {1, 1}, {1, 4}};
  const auto plan = [&](std::string_view protocol, const char* params) {
    return FindProtocol(protocol)
        .plan({.n_tokens = 4,
               .context_length = 3,
               .documents = documents,
               .params = ParseJson(params).value()})
        .value();
  };
  EXPECT_EQ(plan("sliding_bos", R"({"stride":0,"truncate":false})"),
            (std::vector<Window>{{0, 0, 1, true}, {1, 1, 3, true}, {3, 3, 4, true}}));
  EXPECT_EQ(plan("sliding_bos", R"({"stride":1,"truncate":false})"),
            (std::vector<Window>{{0, 0, 1, true}, {1, 1, 3, true}, {2, 3, 4, true}}));
  EXPECT_EQ(plan("sliding_bos", R"({"stride":0,"truncate":true})"),
            (std::vector<Window>{{0, 0, 1, true}, {1, 1, 3, true}}));
  EXPECT_EQ(plan("rolling", R"({"context_len":1,"over":"documents"})"),
            (std::vector<Window>{{0, 0, 1, true}, {1, 1, 4, true}}));
  // A context of one token: each sees the one before it.
  EXPECT_EQ(FindProtocol("rolling")
                .plan({.n_tokens = 3,
                       .context_length = 1,
                       .params = {{"context_len", 1}, {"over", "stream"}}})
                .value(),
            (std::vector<Window>{{0, 0, 1, true}, {0, 1, 2, false}, {1, 2, 3, false}}));
}

// What a sweep hears before anything is trained; the error's parameter, then its message.
TEST(ProtocolTest, WhatTheSplitCannotServeIsRefusedBeforeItIsRun) {
  const auto fit = [](const char* given) -> std::string {
    Json params =
        ResolveParams(PerplexityEvaluation().params, ParseJson(given).value(), "perplexity")
            .value();
    const DatasetShape dataset = {.name = "d", .split_tokens = {{"validation", 1000}}};
    const auto error = PerplexityEvaluation().fit(dataset, params);
    return error ? error->key + ": " + error->message : "";
  };
  // 999 = 1111100111 in binary: 1111000000 = 960 are scored by default.
  EXPECT_EQ(fit(R"({"context_lengths":[960]})"), "");
  EXPECT_EQ(fit(R"({"context_lengths":[64,970]})"),
            "context_lengths: context length 970 is more than the 960 tokens that are scored by "
            "default at every length in split validation of dataset \"d\": lower it, or give "
            "score_tokens from 970 to 999");
  EXPECT_EQ(fit(R"({"context_lengths":[64,970],"score_tokens":970})"), "");
  EXPECT_EQ(fit(R"({"context_lengths":[1000]})"),
            "context_lengths: context length 1000 needs 1000 + 1 tokens, but split validation of "
            "dataset \"d\" has 1000");
  EXPECT_EQ(fit(R"({"context_lengths":[64],"protocol":"last_k","k":8,"every":960})"), "");
  EXPECT_EQ(
      fit(R"({"context_lengths":[64],"protocol":"last_k","k":8,"every":961})"),
      "every: the first window ends at token 961, but only tokens up to 960 can be scored: lower "
      "it, or give the split more text");
  EXPECT_EQ(fit(R"({"context_lengths":[64],"protocol":"last_k","k":65})"),
            "k: expected from 1 to the context length 64, found 65");
  // With a begin of text a window may be longer than the text.
  EXPECT_EQ(fit(R"({"context_lengths":[4096],"protocol":"rolling"})"), "");
  EXPECT_EQ(fit(R"({"context_lengths":[4096],"protocol":"sliding_bos"})"), "");
  EXPECT_EQ(fit(R"({"context_lengths":[64,128],"protocol":"sliding_bos","stride":64})"),
            "stride: a stride of 64 skips tokens: at context length 64, expected at most 63 (the "
            "begin-of-text token takes one place of each window)");
}

// ---- nonoverlap --------------------------------------------------------------------------------

TEST(NonOverlapTest, WindowsLieSideBySide) {
  const auto windows = PlanNonOverlap({.n_tokens = 23, .context_length = 5}).value();
  EXPECT_EQ(windows,
            (std::vector<Window>{
                {0, 1, 6, false}, {5, 6, 11, false}, {10, 11, 16, false}, {15, 16, 21, false}}));
}

TEST(NonOverlapTest, ToyModelHasTheScoreAndErrorOfTheVectors) {
  const std::vector<std::int32_t> tokens(23);
  const auto windows = PlanNonOverlap({.n_tokens = 23, .context_length = 5}).value();
  ToyModel model;
  const Score score = ScoreWindows(model, {.tokens = tokens, .windows = windows}).value();
  EXPECT_EQ(score.n, 20);
  EXPECT_NEAR(score.MeanNll(), 2.336262952850, 1e-7);  // NLLs are floats
  EXPECT_NEAR(std::exp(score.MeanNll()), 10.342513791701, 1e-6);
  EXPECT_NEAR(StandardError(score.windows).value(), 0.273615143547, 1e-7);
  EXPECT_NEAR(score.windows[0].nll_sum, 10.001284197625, 1e-6);
  EXPECT_NEAR(score.windows[1].nll_sum, 13.675578317319, 1e-6);
  EXPECT_NEAR(score.windows[2].nll_sum, 8.730400405689, 1e-6);
  EXPECT_NEAR(score.windows[3].nll_sum, 14.317996136372, 1e-6);
}

TEST(NonOverlapTest, UniformModelHasThePerplexityOfItsVocabularyAtEveryLength) {
  const std::vector<std::int32_t> tokens(1000);
  ConstantModel model(static_cast<float>(std::log(256.0)));
  for (const std::int64_t length : {1, 7, 64, 999}) {
    const auto windows = PlanNonOverlap({.n_tokens = 1000, .context_length = length}).value();
    const Score score = ScoreWindows(model, {.tokens = tokens, .windows = windows}).value();
    EXPECT_NEAR(std::exp(score.MeanNll()), 256.0, 1e-3);
    EXPECT_EQ(score.n, 999 / length * length);
  }
}

// floor((N - 1) / L): when L divides N the last window would wrap to the front (which Cable's
// notebook scores twice).
TEST(NonOverlapTest, ALengthThatDividesTheTokensGetsOneWindowLess) {
  EXPECT_EQ(PlanNonOverlap({.n_tokens = 20, .context_length = 5}).value().size(), 3u);
  EXPECT_EQ(PlanNonOverlap({.n_tokens = 21, .context_length = 5}).value().size(), 4u);
}

TEST(NonOverlapTest, EveryLengthScoresTheSameTokensUnderACommonTail) {
  const std::vector<std::int64_t> lengths = {1, 2, 3, 5, 8, 16, 32};
  const std::int64_t score_tokens = CommonScoreTokens(103);
  EXPECT_EQ(score_tokens, 96);  // 102 = 1100110 in binary; 1100000 is 96
  for (const std::int64_t length : lengths) {
    const auto windows =
        PlanNonOverlap({.n_tokens = 103, .context_length = length, .score_tokens = score_tokens})
            .value();
    std::int64_t next = 1;
    for (const Window& window : windows) {
      EXPECT_EQ(window.score_begin, next);
      EXPECT_EQ(window.context_begin, next - 1);
      EXPECT_LE(window.score_end - window.score_begin, length);
      next = window.score_end;
    }
    EXPECT_EQ(next, 97) << length;
    EXPECT_EQ(windows.size(), static_cast<std::size_t>((96 + length - 1) / length));
  }
}

TEST(NonOverlapTest, ALengthThatDoesNotDivideTheTailHasAShortLastWindow) {
  const auto windows =
      PlanNonOverlap({.n_tokens = 23, .context_length = 5, .score_tokens = 12}).value();
  EXPECT_EQ(windows,
            (std::vector<Window>{{0, 1, 6, false}, {5, 6, 11, false}, {10, 11, 13, false}}));
}

TEST(NonOverlapTest, PlansWithoutOneFullWindowAreRefused) {
  EXPECT_TRUE(PlanNonOverlap({.n_tokens = 6, .context_length = 5}).ok());
  const auto text = PlanNonOverlap({.n_tokens = 5, .context_length = 5});
  ASSERT_FALSE(text.ok());
  EXPECT_EQ(text.status().code(), Code::kInvalidArgument);
  EXPECT_TRUE(
      Contains(text.status().message(), "context_length 5 needs 5 + 1 tokens, but there are 5"));
  const auto tail = PlanNonOverlap({.n_tokens = 23, .context_length = 5, .score_tokens = 4});
  EXPECT_TRUE(Contains(tail.status().message(), "score_tokens 4 is less than context_length 5"));
  const auto past = PlanNonOverlap({.n_tokens = 23, .context_length = 5, .score_tokens = 23});
  EXPECT_TRUE(Contains(past.status().message(), "score_tokens 23 exceeds the 22 tokens"));
}

// By hand: 15 = 1111 keeps all digits, 31 = 11111 loses one,
// 466853 = 1110001111110100101 keeps 1110.
TEST(NonOverlapTest, TheTokensScoredByDefaultDependOnTheSplitAlone) {
  EXPECT_EQ(CommonScoreTokens(2), 1);
  EXPECT_EQ(CommonScoreTokens(16), 15);
  EXPECT_EQ(CommonScoreTokens(32), 30);
  EXPECT_EQ(CommonScoreTokens(466'854), 14 << 15);
}

}  // namespace
}  // namespace longrun
