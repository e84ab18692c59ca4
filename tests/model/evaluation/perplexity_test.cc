#include "model/evaluation/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/files.h"
#include "model/data/unigram.h"
#include "tests/model/evaluation/toy_model.h"

namespace longrun {
namespace {

bool Contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// ---- the plan ----------------------------------------------------------------------------------

// evaluation.md 1.7, nonoverlap L=5 over 23 tokens.
TEST(NonOverlapTest, PlanIsThatOfTheSpecification) {
  const auto windows = PlanNonOverlap({.n_tokens = 23, .context_length = 5}).value();
  EXPECT_EQ(windows,
            (std::vector<Window>{
                {0, 1, 6, false}, {5, 6, 11, false}, {10, 11, 16, false}, {15, 16, 21, false}}));
}

TEST(NonOverlapTest, ToyModelHasTheScoreOfTheSpecification) {
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

// floor((N - 1) / L): when L divides N the last window would wrap to the front (the quirk of 1.1).
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
      Contains(text.status().message(), "context_length 5 needs 5 + 1 tokens, there are 5"));
  const auto tail = PlanNonOverlap({.n_tokens = 23, .context_length = 5, .score_tokens = 4});
  EXPECT_TRUE(Contains(tail.status().message(), "score_tokens 4 is less than context_length 5"));
  const auto past = PlanNonOverlap({.n_tokens = 23, .context_length = 5, .score_tokens = 23});
  EXPECT_TRUE(Contains(past.status().message(), "score_tokens 23 exceeds the 22 tokens"));
}

// By hand: 15 = 1111 keeps all digits, 31 = 11111 loses one, 466853 = 1110001111110100101 keeps 1110.
TEST(NonOverlapTest, TheTokensScoredByDefaultDependOnTheSplitAlone) {
  EXPECT_EQ(CommonScoreTokens(2), 1);
  EXPECT_EQ(CommonScoreTokens(16), 15);
  EXPECT_EQ(CommonScoreTokens(32), 30);
  EXPECT_EQ(CommonScoreTokens(466'854), 14 << 15);
}

// ---- the evaluation ----------------------------------------------------------------------------

class PerplexityTest : public testing::Test {
 protected:
  // `n_documents` documents of 19 bytes and an end of text to validate on.
  Dataset Import(int n_documents) {
    ImportSpec spec;
    spec.splits = {{"train", {Text("train.txt", "it is a truth universally acknowledged")}},
                   {"validation", {}}};
    for (int i = 0; i < n_documents; ++i) {
      const std::string name = "document " + std::to_string(1000 + i);
      spec.splits[1].second.push_back(Text(name + ".txt", name + " text."));
    }
    const std::string folder = JoinPath(folder_.path(), "data-" + std::to_string(n_documents));
    EXPECT_TRUE(ImportText(spec, folder).ok());
    return Dataset::Open(folder).value();
  }

  std::string Text(const std::string& name, const std::string& text) {
    const std::string path = JoinPath(folder_.path(), name);
    EXPECT_TRUE(WriteFileAtomic(path, text).ok());
    return path;
  }

  TempFolder folder_;
};

TEST_F(PerplexityTest, RowIsAResultOfTheContract) {
  const Dataset dataset = Import(2);  // 40 tokens
  ToyModel model;

  const auto output =
      kPerplexity
          .run(model, {.dataset = &dataset, .params = Json::object(), .context_length = 8}, {})
          .value();

  ASSERT_EQ(output.rows.size(), 1u);
  const Json& row = output.rows[0];
  double nll_sum = 0.0;  // four windows of 8
  for (int t = 1; t <= 32; ++t) nll_sum += 2.0 + std::cos(0.7 * t) + 1.0 / (1.0 + (t - 1) % 8 + 1);
  EXPECT_EQ(row.at("metric"), "nll");
  EXPECT_EQ(row.at("context_length"), 8);
  EXPECT_EQ(row.at("split"), "validation");
  EXPECT_EQ(row.at("protocol"), "nonoverlap");
  EXPECT_EQ(row.at("averaging"), "token");
  EXPECT_TRUE(row.at("depth").is_null());
  EXPECT_TRUE(row.at("variant").is_null());
  EXPECT_NEAR(row.at("value").get<double>(), nll_sum / 32, 1e-7);
  EXPECT_NEAR(row.at("nll_sum").get<double>(), nll_sum, 1e-5);
  EXPECT_EQ(row.at("n"), 32);
  EXPECT_EQ(row.at("bytes"), 31);  // one of the 32 is an end of text
  EXPECT_GT(row.at("se").get<double>(), 0.0);
  EXPECT_EQ(row.at("status"), "ok");
  EXPECT_EQ(row.at("extra"), (Json{{"clusters", "window"}, {"n_clusters", 4}}));
  EXPECT_EQ(row.size(), 14u);
}

TEST_F(PerplexityTest, PerDocumentSumsAddUpToTheRow) {
  const Dataset dataset = Import(2);
  ConstantModel model(0.5f);
  const auto output =
      kPerplexity
          .run(model, {.dataset = &dataset, .params = Json::object(), .context_length = 8}, {})
          .value();
  ASSERT_EQ(output.artifacts.size(), 1u);
  EXPECT_EQ(output.artifacts[0].name, "documents-nll-validation-8.csv");
  // Token 0 is not scored, nor the last 7; the first document's 20th token is its end.
  EXPECT_EQ(output.artifacts[0].bytes, "doc,n,nll_sum,bytes\n0,19,9.5,18\n1,13,6.5,13\n");
}

TEST_F(PerplexityTest, ErrorIsOverDocumentsWhenThereAreTen) {
  ToyModel model;
  const auto extra = [&](int n_documents) {
    const Dataset dataset = Import(n_documents);
    return kPerplexity
        .run(model, {.dataset = &dataset, .params = Json::object(), .context_length = 4}, {})
        .value()
        .rows[0]
        .at("extra");
  };
  EXPECT_EQ(extra(9).at("clusters"), "window");
  EXPECT_EQ(extra(10), (Json{{"clusters", "document"}, {"n_clusters", 10}}));
}

TEST_F(PerplexityTest, OneWindowHasNoError) {
  const Dataset dataset = Import(2);
  ToyModel model;
  const auto output =
      kPerplexity
          .run(model, {.dataset = &dataset, .params = Json::object(), .context_length = 39}, {})
          .value();
  EXPECT_TRUE(output.rows[0].at("se").is_null());
  EXPECT_EQ(output.rows[0].at("status"), "ok");
}

TEST_F(PerplexityTest, ScoreTokensAndSplitAreHonoured) {
  const Dataset dataset = Import(2);
  ToyModel model;
  const Json params = {{"split", "train"}, {"score_tokens", 20}};
  const auto output =
      kPerplexity.run(model, {.dataset = &dataset, .params = params, .context_length = 8}, {})
          .value();
  EXPECT_EQ(output.rows[0].at("n"), 20);
  EXPECT_EQ(output.rows[0].at("split"), "train");
  EXPECT_EQ(model.windows_seen().back(), (Window{16, 17, 21, false}));
}

TEST_F(PerplexityTest, WhatAModelCannotDoIsARowAndNoError) {
  const Dataset dataset = Import(2);
  const EvaluationRequest request{
      .dataset = &dataset, .params = Json::object(), .context_length = 8};
  FailingModel past_table(Code::kOutOfRange), no_memory(Code::kResourceExhausted);
  ConstantModel infinite(std::numeric_limits<float>::infinity());
  struct Case {
    LanguageModel* model;
    std::string_view status;
    std::int64_t n;
    Json extra;
  };
  const Case cases[] = {
      {&past_table, "not_applicable", 0, {{"reason", "as told"}}},
      {&no_memory, "out_of_memory", 0, {{"reason", "as told"}}},
      {&infinite, "non_finite", 32, {{"non_finite", 32}}},
  };
  for (const Case& c : cases) {
    const auto output = kPerplexity.run(*c.model, request, {}).value();
    ASSERT_EQ(output.rows.size(), 1u);
    const Json& row = output.rows[0];
    EXPECT_EQ(row.at("status"), c.status);
    EXPECT_EQ(row.at("n"), c.n);
    EXPECT_EQ(row.at("extra"), c.extra);
    for (const char* key : {"value", "se", "nll_sum", "bytes"})
      EXPECT_TRUE(row.at(key).is_null()) << c.status << key;
    EXPECT_TRUE(output.artifacts.empty());
  }
}

TEST_F(PerplexityTest, OtherErrorsAreErrors) {
  const Dataset dataset = Import(2);
  const auto run = [&](LanguageModel& model, Json params, std::int64_t context_length,
                       const EvaluationProgress& progress = {}) {
    return kPerplexity
        .run(model,
             {.dataset = &dataset, .params = std::move(params), .context_length = context_length},
             progress)
        .status();
  };
  ToyModel toy;
  FailingModel failing(Code::kInternal);
  EXPECT_EQ(run(failing, Json::object(), 8).code(), Code::kInternal);
  EXPECT_EQ(run(toy, {{"split", "test"}}, 8).code(), Code::kNotFound);
  EXPECT_TRUE(Contains(run(toy, Json::object(), 40).message(),
                       "perplexity of split validation: context_length 40"));
  EXPECT_TRUE(Contains(run(toy, {{"splits", "test"}}, 8).message(),
                       "perplexity.splits: unknown key; did you mean"));
  EXPECT_EQ(run(toy, Json::object(), 8, [](std::int64_t, std::int64_t) { return false; }).code(),
            Code::kCancelled);
}

TEST_F(PerplexityTest, UnigramBaselineIsTheSameCallWithItsModelAndItsName) {
  const Dataset dataset = Import(2);
  const auto unigram = UnigramModel::Fit(dataset).value();
  const auto row = [&](std::int64_t length) {
    return kPerplexity
        .run(*unigram,
             {.dataset = &dataset,
              .params = {{"baseline", "unigram"}, {"score_tokens", 32}},
              .context_length = length,
              .variant = "unigram"},
             {})
        .value()
        .rows[0];
  };
  EXPECT_EQ(row(8).at("variant"), "unigram");
  // It knows no context: the same tokens have the same score at every length.
  EXPECT_DOUBLE_EQ(row(8).at("value").get<double>(), row(32).at("value").get<double>());
}

// ---- the table of parameters -------------------------------------------------------------------

TEST(PerplexityParamsTest, DefaultsAreWrittenIn) {
  const Json resolved =
      ResolveParams(kPerplexity.params, {{"context_lengths", {64, 128}}}, "perplexity").value();
  EXPECT_EQ(resolved, (Json{{"context_lengths", {64, 128}},
                            {"split", "validation"},
                            {"protocol", "nonoverlap"},
                            {"score_tokens", 0},
                            {"baseline", "none"}}));
  EXPECT_TRUE(kPerplexity.variants(resolved).empty());
}

TEST(PerplexityParamsTest, ABaselineIsAVariantOfItsOwn) {
  const Json resolved =
      ResolveParams(kPerplexity.params, {{"context_lengths", {64}}, {"baseline", "unigram"}},
                    "perplexity")
          .value();
  EXPECT_EQ(kPerplexity.variants(resolved), std::vector<std::string>{"unigram"});
}

TEST(PerplexityParamsTest, ProtocolsOfTheSpecificationAreKnownAndRefusedUntilTheyAreBuilt) {
  for (const char* protocol :
       {"sliding_bos", "rolling", "prefix_curve", "drt_windows", "last_k", "per_position"}) {
    const auto errors =
        CheckParams(kPerplexity.params, {{"context_lengths", {64}}, {"protocol", protocol}});
    ASSERT_EQ(errors.size(), 1u);
    EXPECT_EQ(errors[0].key, "protocol");
    EXPECT_EQ(errors[0].message,
              std::string("\"") + protocol + "\" is not built yet; today there is nonoverlap");
  }
}

TEST(EvaluationRegistryTest, FindsByNameAndRefusesOthersWithTheList) {
  EXPECT_EQ(FindEvaluation("perplexity").value(), &kPerplexity);
  const auto unknown = FindEvaluation("perplexty");
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.status().message(),
            "unknown evaluation \"perplexty\"; did you mean \"perplexity\"?; there is perplexity");
}

}  // namespace
}  // namespace longrun
