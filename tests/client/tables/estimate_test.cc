#include "client/tables/estimate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <tuple>
#include <utility>
#include <vector>

#include "base/student_t.h"

namespace longrun::client {
namespace {

constexpr std::size_t kBlocks = 16;

// A row that scores 100 tokens in each of the blocks with these mean losses.
Reading ReadingOf(const std::vector<double>& nll, std::int64_t first = 0) {
  Json begin = Json::array(), n = Json::array();
  double sum = 0.0;
  for (std::size_t b = 0; b < nll.size(); ++b) {
    begin.push_back(first + static_cast<std::int64_t>(100 * b));
    n.push_back(100);
    sum += 100.0 * nll[b];
  }
  const auto count = static_cast<double>(100 * nll.size());
  const ResultMetric metric = MetricsOf({"nll"})[1];
  return *metric.Read(ReadBody({{"n", count},
                                {"nll_sum", sum},
                                {"value", sum / count},
                                {"se", 0.3},
                                {"extra",
                                 {{"clusters", "block"},
                                  {"n_clusters", nll.size()},
                                  {"df", static_cast<double>(nll.size()) - 1.0},
                                  {"blocks", {{"begin", begin}, {"n", n}, {"nll", nll}}}}}}));
}

TEST(EstimateTest, SeedsAndTextAreTwoSources) {
  Reading a{.x = 3.0, .se = 0.2, .df = 15.0}, b{.x = 3.4, .se = 0.4, .df = 15.0};
  const Estimate mean = MeanOf({a, b});
  EXPECT_DOUBLE_EQ(mean.x, 3.2);
  EXPECT_NEAR(*mean.seeds.se, 0.2, 1e-12);  // sd 0.2828 / sqrt 2
  EXPECT_EQ(mean.seeds.df, 1.0);
  EXPECT_NEAR(*mean.text.se, 0.3,
              1e-12);  // the text is one: errors of its seeds do not average out
  EXPECT_EQ(mean.text.df, 15.0);
  // 12.7 * 0.2 over two seeds is wider than 2.13 * 0.3 over sixteen blocks.
  EXPECT_EQ(mean.shown(/*is_difference=*/false).source, ErrorSource::kSeeds);
  EXPECT_NEAR(*mean.shown(/*is_difference=*/false).part.half95(), 12.706204736 * 0.2, 1e-8);
  EXPECT_NEAR(*mean.both().se, std::hypot(0.2, 0.3), 1e-12);
  // (0.04 + 0.09)^2 / (0.04^2 / 1 + 0.09^2 / 15)
  EXPECT_NEAR(mean.both().df, 0.0169 / (0.0016 + 0.0081 / 15.0), 1e-9);
  EXPECT_NEAR(mean.p()->p, StudentTwoSidedP(3.2 / std::hypot(0.2, 0.3), mean.both().df), 1e-15);

  // Equal seeds add nothing, whatever their number.
  const Estimate equal = MeanOf({{.x = 3.0, .se = 0.2}, {.x = 3.0, .se = 0.2}});
  EXPECT_EQ(equal.seeds.df, 1.0);
  EXPECT_NEAR(*equal.both().half95(), 1.959963985 * 0.2, 1e-8);

  // A damaged row's error has no limit.
  const Estimate absurd = MeanOf({{.x = 3.0, .se = 1e200, .df = 15.0}, {.x = 4.0, .se = 1e200}});
  EXPECT_GT(absurd.both().df, 0.0);
  EXPECT_NEAR(absurd.p()->p, 1.0, 1e-12);

  const Estimate one = MeanOf({a});
  EXPECT_FALSE(one.seeds.se.has_value());
  EXPECT_EQ(one.shown(/*is_difference=*/false).part.se, 0.2);
  EXPECT_FALSE(MeanOf({Reading{.x = 1.0}}).p().has_value());
}

TEST(EstimateTest, TheIntervalOfADifferenceAgreesWithItsTest) {
  for (const double text : {0.01, 0.1, 0.3}) {
    for (const double x : {0.2, 0.4, 0.8, 1.6, 3.2}) {
      const Estimate difference{
          .x = x, .seeds = {.se = 0.1, .df = 1.0}, .text = {.se = text, .df = 15.0}};
      const ShownError shown = difference.shown(/*is_difference=*/true);
      EXPECT_EQ(ErrorSourceName(shown.source), "both");
      EXPECT_EQ(difference.p()->p <= kTestLevel, *shown.part.half95() <= x) << text << " " << x;
    }
  }
  // A source without an error adds nothing.
  const Estimate of_text{
      .x = 1.0, .seeds = {.se = 0.0, .df = 2.0}, .text = {.se = 0.2, .df = 15.0}};
  EXPECT_EQ(ErrorSourceName(of_text.shown(/*is_difference=*/true).source), "text");
  EXPECT_EQ(of_text.shown(/*is_difference=*/true).part.half95(), of_text.text.half95());
}

TEST(EstimateTest, TheErrorOverSeedsIsOfTheirMean) {
  // 1, 2, 6: mean 3, squares 4 + 1 + 9 = 14, variance 7, of the mean 7/3.
  const Estimate mean = MeanOf({{.x = 1.0, .se = 9.0}, {.x = 2.0}, {.x = 6.0}});
  EXPECT_NEAR(mean.x, 3.0, 1e-12);
  EXPECT_NEAR(*mean.seeds.se, std::sqrt(7.0 / 3.0), 1e-12);
  EXPECT_FALSE(mean.text.se.has_value());  // two of the three do not know theirs
}

TEST(EstimateTest, DifferencesAreTakenBlockByBlock) {
  // Losses that differ much from block to block, and two models that differ little.
  std::vector<double> easy_and_hard, better;
  for (std::size_t b = 0; b < kBlocks; ++b) {
    easy_and_hard.push_back(3.0 + static_cast<double>(b % 4));
    better.push_back(easy_and_hard.back() - 0.1 + (b % 2 == 0 ? 0.01 : -0.01));
  }
  const std::vector<SeedReading> a = {{.seed = 1, .reading = ReadingOf(easy_and_hard)}};
  const std::vector<SeedReading> b = {{.seed = 1, .reading = ReadingOf(better)}};
  const PairedDifference paired = Compare(a, b);
  EXPECT_TRUE(paired.is_text_paired);
  EXPECT_NEAR(paired.estimate.x, -0.1, 1e-12);
  // Sixteen differences of -0.09 and -0.11: 0.01 / sqrt(15).
  EXPECT_NEAR(*paired.estimate.text.se, 0.01 / std::sqrt(15.0), 1e-12);
  EXPECT_EQ(paired.estimate.text.df, 15.0);
  EXPECT_FALSE(paired.estimate.seeds.se.has_value());  // one seed says nothing about others
  EXPECT_LT(paired.estimate.p()->p, 1e-10);

  // Other blocks of the text, or none: as if independent.
  const std::vector<SeedReading> elsewhere = {{.seed = 1, .reading = ReadingOf(better, 50)}};
  const PairedDifference unpaired = Compare(a, elsewhere);
  EXPECT_FALSE(unpaired.is_text_paired);
  EXPECT_NEAR(*unpaired.estimate.text.se, std::hypot(0.3, 0.3), 1e-12);
  EXPECT_GT(unpaired.estimate.p()->p, 0.5);
  EXPECT_EQ(Compare(a, a).estimate.p()->p, 1.0);
}

TEST(EstimateTest, SeedsThatBothSidesHaveArePaired) {
  const auto side = [](std::vector<std::pair<int, double>> xs) {
    std::vector<SeedReading> readings;
    for (const auto& [seed, x] : xs) readings.push_back({.seed = seed, .reading = {.x = x}});
    return readings;
  };
  const auto a = side({{1, 3.0}, {2, 5.0}, {3, 4.0}});
  const PairedDifference paired = Compare(a, side({{3, 3.9}, {1, 2.9}, {2, 4.7}}));
  EXPECT_EQ(paired.n_seeds_matched, 3u);
  EXPECT_NEAR(paired.estimate.x, -0.5 / 3.0, 1e-12);
  EXPECT_NEAR(*paired.estimate.seeds.se, std::sqrt(0.04 / 3.0 / 3.0), 1e-9);  // of -0.1, -0.3, -0.1
  EXPECT_EQ(paired.estimate.seeds.df, 2.0);

  // Where two match, the third is left out.
  const PairedDifference two = Compare(a, side({{1, 2.9}, {2, 4.7}, {9, 100.0}}));
  EXPECT_EQ(two.n_seeds_matched, 2u);
  EXPECT_NEAR(two.estimate.x, -0.2, 1e-12);

  // None matches: Welch's test, scipy.stats.ttest_ind([7, 9, 8.5], [3, 5, 4], equal_var=False).
  const PairedDifference welch = Compare(a, side({{7, 7.0}, {8, 9.0}, {9, 8.5}}));
  EXPECT_EQ(welch.n_seeds_matched, 0u);
  EXPECT_NEAR(welch.estimate.p()->p, 0.007521820065403851, 1e-9);
  // One seed against three has the variance of the three.
  const PairedDifference one = Compare(side({{7, 6.0}}), a);
  EXPECT_NEAR(*one.estimate.seeds.se, std::sqrt(1.0 + 1.0 / 3.0), 1e-12);
  EXPECT_EQ(one.estimate.seeds.df, 2.0);
}

TEST(EstimateTest, HolmCorrectsForTheNumberOfTests) {
  // statsmodels.stats.multitest.multipletests(method="holm")
  const auto corrected = Holm({0.01, std::nullopt, 0.04, 0.03, 0.005});
  EXPECT_NEAR(*corrected[0], 0.03, 1e-15);
  EXPECT_FALSE(corrected[1].has_value());
  EXPECT_NEAR(*corrected[2], 0.06, 1e-15);
  EXPECT_NEAR(*corrected[3], 0.06, 1e-15);
  EXPECT_NEAR(*corrected[4], 0.02, 1e-15);
  EXPECT_EQ(*Holm({0.9, 0.8})[0], 1.0);
}

// Texts whose difficulty changes slowly, read by two models that are equally good but err
// differently, and each trained with several seeds: 5 in 100 tests reject.
class EqualModels : public ::testing::TestWithParam<std::tuple<int, bool>> {};

TEST_P(EqualModels, AreToldApartInFiveOfAHundredTests) {
  const auto [n_seeds, are_matched] = GetParam();
  std::mt19937_64 random(20'261'123);
  std::normal_distribution<double> normal;
  constexpr int kTexts = 4000;
  int n_rejected = 0;
  for (int text = 0; text < kTexts; ++text) {
    std::vector<double> difficulty(kBlocks), own_a(kBlocks), own_b(kBlocks);
    double level = 0.0;
    for (std::size_t b = 0; b < kBlocks; ++b) {
      level = 0.8 * level + normal(random);
      difficulty[b] = 3.0 + level;
      own_a[b] = 0.05 * normal(random);
      own_b[b] = 0.05 * normal(random);
    }
    std::vector<SeedReading> a, b;
    for (int s = 0; s < n_seeds; ++s) {
      const double luck = 0.05 * normal(random);  // a seed's, of both models if they share it
      const auto losses = [&](const std::vector<double>& own, double of_seed) {
        std::vector<double> nll(kBlocks);
        const double training = of_seed + 0.02 * normal(random);
        for (std::size_t i = 0; i < kBlocks; ++i) nll[i] = difficulty[i] + own[i] + training;
        return nll;
      };
      a.push_back({.seed = s, .reading = ReadingOf(losses(own_a, luck))});
      b.push_back(
          {.seed = are_matched ? s : s + 100,
           .reading = ReadingOf(losses(own_b, are_matched ? luck : 0.05 * normal(random)))});
    }
    if (Compare(a, b).estimate.p()->p <= 0.05) ++n_rejected;
  }
  // 1.5 percent are 4.4 deviations of this count.
  EXPECT_NEAR(static_cast<double>(n_rejected) / kTexts, 0.05, 0.015);
}

INSTANTIATE_TEST_SUITE_P(All, EqualModels,
                         ::testing::Combine(::testing::Values(3, 5), ::testing::Bool()));

// Ten models that are all as good as an eleventh: in at most 5 of 100 such tables is any of them
// found to differ from it. The test of one pair, corrected in the same way, would err more often:
// where two seeds happen to agree, it takes their variance for known.
TEST(EstimateTest, ATableOfEqualModelsIsWrongInAtMostFiveOfAHundredTables) {
  std::mt19937_64 random(20'261'123);
  std::normal_distribution<double> normal;
  constexpr int kTables = 1000, kModels = 10;
  const auto model = [&](int n_seeds) {
    std::vector<double> own(kBlocks);
    for (double& block : own) block = 0.05 * normal(random);
    std::vector<SeedReading> readings;
    for (int s = 0; s < n_seeds; ++s) {
      const double luck = 0.02 * normal(random);
      std::vector<double> nll = own;
      for (double& block : nll) block += 3.0 + luck;
      readings.push_back({.seed = s, .reading = ReadingOf(nll)});
    }
    return readings;
  };
  for (const int n_seeds : {2, 3, 5}) {
    int n_wrong = 0;
    for (int table = 0; table < kTables; ++table) {
      const std::vector<SeedReading> reference = model(n_seeds);
      std::vector<PValues> tests;
      for (int i = 0; i < kModels; ++i) {
        tests.push_back(*Compare(reference, model(n_seeds)).estimate.p());
      }
      n_wrong += std::ranges::min(CorrectForNumber(tests)) <= 0.05 ? 1 : 0;
    }
    // Three deviations of a count of 50 are 2 %.
    EXPECT_LE(static_cast<double>(n_wrong) / kTables, 0.07) << n_seeds;
  }
}

// With one degree of freedom, Student's t at the level a is tan(pi / 2 (1 - a)).
TEST(EstimateTest, FewSeedsNeedManyStandardErrors) {
  EXPECT_NEAR((FewSeeds{.n_seeds = 2, .n_tests = 1}.errors_needed()), 12.706205, 1e-5);
  EXPECT_NEAR((FewSeeds{.n_seeds = 2, .n_tests = 6}.errors_needed()), 76.390009, 1e-5);
  EXPECT_EQ((FewSeeds{.n_seeds = 2, .n_tests = 1}.Enough().n_seeds), 3u);  // 4.30
  EXPECT_EQ((FewSeeds{.n_seeds = 2, .n_tests = 6}.Enough().n_seeds), 5u);  // 4.85; with 4, 6.23
}

TEST(EstimateTest, SeedsHideADifferenceThatTheTextShows) {
  const Estimate difference = {
      .x = 1.0, .seeds = {.se = 0.1, .df = 1.0}, .text = {.se = 0.01, .df = 15.0}};
  ASSERT_GT(difference.p()->p, kTestLevel);
  EXPECT_TRUE(HiddenByFewSeeds(difference, 2, 1).has_value());  // 10 errors, 12.7 needed
  // With as large an error over the text, one test finds it; several do not.
  Estimate even = difference;
  even.text.se = 0.1;
  EXPECT_LT(even.p()->p, kTestLevel);
  EXPECT_FALSE(HiddenByFewSeeds(even, 2, 1).has_value());
  EXPECT_TRUE(HiddenByFewSeeds(even, 2, 6).has_value());
  // An error over the text of a fifth of that over seeds hardly helps: of both together, Student's
  // t has 1.1 degrees of freedom. Its quantile is 10.476 by the incomplete beta function of
  // mpmath 1.3, times sqrt(1 + 0.21^2).
  Estimate fifth = difference;
  fifth.text.se = 0.021;
  ASSERT_GT(fifth.p()->p, kTestLevel);
  const std::optional<FewSeeds> few = HiddenByFewSeeds(fifth, 2, 1);
  ASSERT_TRUE(few.has_value());
  EXPECT_NEAR(few->df(), 1.09, 0.001);
  EXPECT_NEAR(few->errors_needed(), 10.705, 0.001);
  EXPECT_NEAR(StudentTwoSidedP(few->errors_needed() / std::hypot(1.0, 0.21), few->df()), 0.05,
              1e-9);
  EXPECT_EQ(few->Enough().n_seeds, 3u);
  EXPECT_LT(few->Enough().errors_needed(), 4.3);
  EXPECT_FALSE(HiddenByFewSeeds({.x = 0.0, .seeds = {.se = 0.0, .df = 1.0}}, 2, 1).has_value());
  // Found; too close to say; many enough; and what more seeds would not show either.
  EXPECT_FALSE(HiddenByFewSeeds({.x = 1.3, .seeds = {.se = 0.1, .df = 1.0}}, 2, 1).has_value());
  EXPECT_FALSE(HiddenByFewSeeds(difference, 1, 1).has_value());
  EXPECT_FALSE(HiddenByFewSeeds(difference, 3, 1).has_value());
  Estimate noisy = difference;
  noisy.text.se = 1.0;
  EXPECT_FALSE(HiddenByFewSeeds(noisy, 2, 6).has_value());
}

TEST(EstimateTest, OneTestIsNotCorrected) {
  EXPECT_EQ(CorrectForNumber({{.p = 0.03, .cautious = 0.06}}), std::vector<double>{0.03});
  EXPECT_EQ(CorrectForNumber({{.p = 0.03, .cautious = 0.06}, {.p = 0.5, .cautious = 0.5}}),
            (std::vector<double>{0.12, 0.5}));
}

}  // namespace
}  // namespace longrun::client
