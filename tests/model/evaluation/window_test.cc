#include "model/evaluation/window.h"

#include <gtest/gtest.h>

#include <limits>
#include <numeric>
#include <vector>

#include "tests/model/evaluation/toy_model.h"

namespace longrun {
namespace {

std::vector<Window> Windows(std::initializer_list<Window> windows) { return windows; }

// sliding_bos with L = 8 and S = 3 over 23 tokens, by hand.
const std::vector<Window> kSliding = Windows({{0, 0, 7, true},
                                              {3, 7, 10, true},
                                              {6, 10, 13, true},
                                              {9, 13, 16, true},
                                              {12, 16, 19, true},
                                              {15, 19, 22, true},
                                              {18, 22, 23, true}});

std::vector<ClusterSum> Clusters(const std::vector<double>& sums,
                                 const std::vector<std::int64_t>& counts) {
  std::vector<ClusterSum> clusters;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    clusters.push_back({.id = static_cast<std::int64_t>(i), .n = counts[i], .nll_sum = sums[i]});
  }
  return clusters;
}

// Both from an fp64 script: the toy model (toy_model.h) under nonoverlap and sliding_bos.
TEST(StandardErrorTest, AgreesWithTheVectorsOfTheSpecification) {
  const auto equal =
      Clusters({10.001284197625, 13.675578317319, 8.730400405689, 14.317996136372}, {5, 5, 5, 5});
  EXPECT_NEAR(StandardError(equal).value(), 0.273615143547, 1e-11);
  const auto unequal = Clusters({14.778880519142, 8.396460693840, 6.822511271788, 4.080839007292,
                                 8.423033554985, 6.780425813846, 1.213713749779},
                                {7, 3, 3, 3, 3, 3, 1});
  EXPECT_NEAR(StandardError(unequal).value(), 0.177786525132, 1e-11);
}

TEST(StandardErrorTest, OneClusterHasNone) {
  EXPECT_FALSE(StandardError(Clusters({10.0}, {5})).has_value());
  EXPECT_FALSE(StandardError({}).has_value());
}

TEST(StandardErrorTest, EqualMeansHaveNoError) {
  EXPECT_DOUBLE_EQ(StandardError(Clusters({2.0, 4.0, 8.0}, {1, 2, 4})).value(), 0.0);
}

TEST(ScoreWindowsTest, AgreesWithTheVectorOfWindowsWithABos) {
  const std::vector<std::int32_t> tokens(23);
  ToyModel model;

  const Score score = ScoreWindows(model, {.tokens = tokens, .windows = kSliding}).value();

  EXPECT_EQ(score.n, 23);
  EXPECT_NEAR(score.MeanNll(), 2.195472374377, 1e-7);  // NLLs are floats
  EXPECT_NEAR(StandardError(score.windows).value(), 0.177786525132, 1e-7);
  EXPECT_EQ(score.windows[0].n, 7);
  EXPECT_NEAR(score.windows[6].nll_sum, 1.213713749779, 1e-7);
}

TEST(ScoreWindowsTest, HowManyWindowsTheModelIsGivenAtOnceChangesNothing) {
  const std::vector<std::int32_t> tokens(23);
  ToyModel single, many;
  const Score one = ScoreWindows(single, {.tokens = tokens, .windows = kSliding}).value();
  const Score three =
      ScoreWindows(many, {.tokens = tokens, .windows = kSliding, .windows_per_call = 3}).value();
  EXPECT_EQ(single.n_calls(), 7);
  EXPECT_EQ(many.n_calls(), 3);
  EXPECT_EQ(many.windows_seen(), kSliding);
  EXPECT_EQ(one.nll_sum, three.nll_sum);
  EXPECT_EQ(one.windows.size(), three.windows.size());
}

TEST(ScoreWindowsTest, TokensBelongToTheDocumentTheyStandIn) {
  const std::vector<std::int32_t> tokens(12);
  const std::vector<Window> windows = Windows({{0, 1, 6, false}, {5, 6, 11, false}});
  const std::vector<std::int64_t> starts = {0, 1, 7, 8, 11, 12};  // the last document is not scored
  ConstantModel model(0.5f);

  const Score score =
      ScoreWindows(model, {.tokens = tokens, .windows = windows, .document_starts = starts})
          .value();

  ASSERT_EQ(score.documents.size(), 3u);  // token 0, all of document 0, is never scored
  EXPECT_EQ(score.documents[0].id, 1);
  EXPECT_EQ(score.documents[0].n, 6);
  EXPECT_EQ(score.documents[0].nll_sum, 3.0);
  EXPECT_EQ(score.documents[1].id, 2);
  EXPECT_EQ(score.documents[1].n, 1);
  EXPECT_EQ(score.documents[2].id, 3);
  EXPECT_EQ(score.documents[2].n, 3);
  EXPECT_EQ(score.n, 10);
}

TEST(ScoreWindowsTest, CountsTheBytesOfScoredTextOnly) {
  const std::vector<std::int32_t> tokens = {1, 2, 0, 1};  // 5, 7, 0, 5 bytes
  const std::vector<std::int32_t> token_bytes = {0, 5, 7};
  const std::vector<Window> windows = Windows({{0, 1, 4, false}});
  ConstantModel model(1.0f);
  const Score score =
      ScoreWindows(model, {.tokens = tokens, .windows = windows, .token_bytes = token_bytes})
          .value();
  EXPECT_EQ(score.bytes, 12);
}

TEST(ScoreWindowsTest, TokensWithoutAFiniteScoreAreCountedAndLeftOutOfTheSum) {
  class OneIsNan final : public LanguageModel {
    Result<std::vector<std::vector<float>>> Nll(std::span<const std::int32_t>,
                                                std::span<const Window>) override {
      return std::vector<std::vector<float>>{{1.0f, std::numeric_limits<float>::quiet_NaN(), 2.0f}};
    }
  };
  const std::vector<std::int32_t> tokens(4);
  const std::vector<Window> windows = Windows({{0, 1, 4, false}});
  OneIsNan model;
  const Score score = ScoreWindows(model, {.tokens = tokens, .windows = windows}).value();
  EXPECT_EQ(score.n_non_finite, 1);
  EXPECT_EQ(score.n, 3);
  EXPECT_EQ(score.nll_sum, 3.0);
}

TEST(ScoreWindowsTest, ProgressIsToldAfterEachCallAndMayStop) {
  const std::vector<std::int32_t> tokens(23);
  ToyModel model;
  std::vector<std::int64_t> done;
  const auto score =
      ScoreWindows(model, {.tokens = tokens, .windows = kSliding, .windows_per_call = 2},
                   [&](std::int64_t n, std::int64_t of) {
                     EXPECT_EQ(of, 7);
                     done.push_back(n);
                     return n < 4;
                   });
  ASSERT_FALSE(score.ok());
  EXPECT_EQ(score.status().code(), Code::kCancelled);
  EXPECT_EQ(score.status().message(), "stopped after 4 of 7 windows");
  EXPECT_EQ(done, (std::vector<std::int64_t>{2, 4}));
}

TEST(ScoreWindowsTest, TheModelsErrorPassesThrough) {
  const std::vector<std::int32_t> tokens(23);
  FailingModel model(Code::kUnavailable);
  const auto score = ScoreWindows(model, {.tokens = tokens, .windows = kSliding});
  ASSERT_FALSE(score.ok());
  EXPECT_EQ(score.status().code(), Code::kUnavailable);
}

}  // namespace
}  // namespace longrun
