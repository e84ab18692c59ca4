// The choice of a token against probabilities that are known in closed form: logits ln 1, ln 2, ...
#include "model/sampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace longrun {
namespace {

// p = 1/10, 4/10, 2/10, 3/10.
const std::vector<double> kTenths = {std::log(1.0), std::log(4.0), std::log(2.0), std::log(3.0)};

std::int64_t Chosen(const std::vector<double>& logits, const Sampling& sampling, double u) {
  return ChooseToken(logits, sampling, u).value();
}

// Of n numbers spread evenly over [0, 1), how many choose each id.
std::vector<int> Counts(const std::vector<double>& logits, const Sampling& sampling, int n) {
  std::vector<int> counts(logits.size());
  for (int i = 0; i < n; ++i) {
    ++counts[static_cast<std::size_t>(Chosen(logits, sampling, (i + 0.5) / n))];
  }
  return counts;
}

TEST(SamplingTest, AtTemperatureZeroTheLargestLogitIsChosenAndOfEqualOnesTheSmallestId) {
  EXPECT_EQ(Chosen(kTenths, {}, 0.999), 1);
  EXPECT_EQ(Chosen({-1.0, 2.0, 2.0, 1.0}, {}, 0.5), 1);
}

TEST(SamplingTest, AtTemperatureOneEachIdIsChosenAsOftenAsItsProbability) {
  EXPECT_EQ(Counts(kTenths, {.temperature = 1.0}, 1000), (std::vector<int>{100, 400, 200, 300}));
}

// p^(1/T), normalised: at T = 1/2 1, 16, 4, 9 of 30; at T = 2 their roots.
TEST(SamplingTest, ATemperatureRaisesProbabilitiesToItsInverse) {
  EXPECT_EQ(Counts(kTenths, {.temperature = 0.5}, 3000), (std::vector<int>{100, 1600, 400, 900}));
  const double all = 1.0 + 2.0 + std::sqrt(2.0) + std::sqrt(3.0);
  const std::vector<int> flat = Counts(kTenths, {.temperature = 2.0}, 10000);
  EXPECT_NEAR(flat[0], 10000 / all, 1.0);
  EXPECT_NEAR(flat[3], 10000 * std::sqrt(3.0) / all, 1.0);
  EXPECT_EQ(Counts(kTenths, {.temperature = 1e-300}, 10), (std::vector<int>{0, 10, 0, 0}));
}

TEST(SamplingTest, TopKLeavesTheMostLikelyInTheirProportion) {
  EXPECT_EQ(Counts(kTenths, {.temperature = 1.0, .top_k = 2}, 700),
            (std::vector<int>{0, 400, 0, 300}));
  EXPECT_EQ(Counts(kTenths, {.temperature = 1.0, .top_k = 9}, 10), (std::vector<int>{1, 4, 2, 3}));
  EXPECT_EQ(Counts({0.0, 0.0, 0.0, 0.0}, {.temperature = 1.0, .top_k = 2}, 10),
            (std::vector<int>{5, 5, 0, 0}));
}

// 0.4 alone is less than 0.5, 0.4 + 0.3 is not; 0.4 + 0.3 is less than 0.75, with 0.2 it is not.
TEST(SamplingTest, TopPLeavesTheSmallestSetThatReachesIt) {
  EXPECT_EQ(Counts(kTenths, {.temperature = 1.0, .top_p = 0.5}, 700),
            (std::vector<int>{0, 400, 0, 300}));
  EXPECT_EQ(Counts(kTenths, {.temperature = 1.0, .top_p = 0.75}, 900),
            (std::vector<int>{0, 400, 200, 300}));
  EXPECT_EQ(Counts(kTenths, {.temperature = 1.0, .top_p = 1e-9}, 10),
            (std::vector<int>{0, 10, 0, 0}));
  // Of what top_k left: 4/7 reaches 0.5 alone.
  EXPECT_EQ(Counts(kTenths, {.temperature = 1.0, .top_k = 2, .top_p = 0.5}, 10),
            (std::vector<int>{0, 10, 0, 0}));
}

TEST(SamplingTest, TokensThatAreHeldBackAreNeverChosenAndTheOthersKeepTheirProportion) {
  const std::vector<std::int32_t> likeliest = {1}, two = {0, 1};
  EXPECT_EQ(ChooseToken(kTenths, {}, 0.0, likeliest).value(), 3);
  std::vector<int> counts(kTenths.size());
  for (int i = 0; i < 500; ++i) {
    const Sampling drawn = {.temperature = 1.0};
    ++counts[static_cast<std::size_t>(ChooseToken(kTenths, drawn, (i + 0.5) / 500, two).value())];
  }
  EXPECT_EQ(counts, (std::vector<int>{0, 0, 200, 300}));
  const Sampling best_two = {.temperature = 1.0, .top_k = 2};
  EXPECT_EQ(ChooseToken(kTenths, best_two, 0.999, likeliest).value(), 3);
  EXPECT_EQ(ChooseToken(kTenths, best_two, 0.001, likeliest).value(), 2);
}

TEST(SamplingTest, LogitsThatAreNoNumbersAreAnErrorAndNotAChoice) {
  const double inf = std::numeric_limits<double>::infinity();
  for (const double bad : {inf, -inf, std::nan("")}) {
    const auto chosen = ChooseToken(std::vector<double>{0.0, bad}, {}, 0.5);
    EXPECT_EQ(chosen.status().code(), Code::kAborted);
    EXPECT_NE(chosen.status().message().find("token 1"), std::string::npos);
  }
}

TEST(SamplingTest, WhatIsOutOfRangeOrWouldDoNothingIsRefusedByName) {
  const auto refused = [](const Sampling& sampling) { return sampling.Check().message(); };
  EXPECT_TRUE(Sampling{}.Check().ok());
  EXPECT_TRUE((Sampling{.temperature = 0.7, .top_k = 5, .top_p = 0.9}.Check().ok()));
  EXPECT_TRUE(refused({.temperature = -1.0}).starts_with("--temperature: "));
  EXPECT_TRUE(refused({.temperature = std::nan("")}).starts_with("--temperature: "));
  EXPECT_TRUE(refused({.temperature = 1.0, .top_k = -1}).starts_with("--top-k: "));
  EXPECT_TRUE(refused({.temperature = 1.0, .top_p = 0.0}).starts_with("--top-p: "));
  EXPECT_TRUE(refused({.temperature = 1.0, .top_p = 1.5}).starts_with("--top-p: "));
  EXPECT_TRUE(refused({.top_k = 5}).starts_with("--top-k: "));
  EXPECT_TRUE(refused({.top_p = 0.5}).starts_with("--top-p: "));
}

}  // namespace
}  // namespace longrun
