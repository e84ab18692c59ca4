#include "model/data/masking.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace longrun {
namespace {

std::vector<std::int32_t> Ids(std::int32_t begin, std::int32_t n) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(n));
  std::iota(ids.begin(), ids.end(), begin);
  return ids;
}

Masking Bert(std::uint64_t seed, MaskStream stream = MaskStream::kTrain,
             double probability = 0.15) {
  MaskConfig config;
  config.probability = probability;
  config.token = 320;
  return Masking(config, seed, stream, Ids(0, 257));
}

using Positions = std::vector<std::int64_t>;

// From a Python program of its own: Philox4x32-10 (its zeros give 6627e8d5 e169c58d bc57ac4c
// 9b00dbd8, as Random123's known answers say), and the rules of masking.h.
TEST(MaskingTest, DrawsWhatAnIndependentProgramDraws) {
  const std::vector<std::int32_t> sample = Ids(100, 24);
  const MaskedSequence masked = Bert(7).Mask(3, sample);
  EXPECT_EQ(masked.positions, (Positions{11, 15, 19, 21}));
  EXPECT_EQ(masked.targets, (std::vector<std::int32_t>{111, 115, 119, 121}));
  std::vector<std::int32_t> fed = sample;
  for (const std::size_t t : {11u, 15u, 19u, 21u}) fed[t] = 320;
  EXPECT_EQ(masked.tokens, fed);

  // 17, 18 and 22 of the thirteen stay as they are; no random token is among them.
  const MaskedSequence half = Bert(7, MaskStream::kTrain, 0.5).Mask(3, sample);
  EXPECT_EQ(half.positions, (Positions{1, 5, 6, 7, 9, 11, 15, 17, 18, 19, 20, 21, 22}));
  EXPECT_EQ(half.tokens[17], 117);
  EXPECT_EQ(half.tokens[18], 118);
  EXPECT_EQ(half.tokens[5], 320);

  EXPECT_EQ(Bert(7, MaskStream::kValidation).Mask(3, sample).positions, (Positions{1, 6, 23}));
  EXPECT_EQ(Bert(8).Mask(3, sample).positions, (Positions{13, 17, 20, 21}));
  EXPECT_EQ(Bert(7).Mask((std::int64_t{1} << 33) + 1, sample).positions,
            (Positions{10, 11, 17, 18, 20, 21, 23}));
}

TEST(MaskingTest, ASampleInWhichNoneWasDrawnHidesTheNearest) {
  const MaskedSequence masked = Bert(7).Mask(0, Ids(100, 3));
  EXPECT_EQ(masked.positions, (Positions{2}));  // of the same program
  EXPECT_EQ(masked.tokens, (std::vector<std::int32_t>{100, 101, 320}));
  for (std::int64_t g = 0; g < 1000; ++g) {
    EXPECT_EQ(Bert(7, MaskStream::kTrain, 1e-6).Count(g, 8), 1) << g;
    EXPECT_EQ(Bert(7, MaskStream::kTrain, 1.0).Count(g, 8), 8) << g;
  }
}

TEST(MaskingTest, CountsWhatItMasks) {
  const Masking masking = Bert(5);
  for (std::int64_t g = 0; g < 200; ++g) {
    const MaskedSequence masked = masking.Mask(g, Ids(0, 64));
    EXPECT_EQ(masking.Count(g, 64), static_cast<std::int64_t>(masked.positions.size()));
    EXPECT_EQ(masked.targets.size(), masked.positions.size());
  }
}

// 2^18 tokens; bounds of five standard deviations of the binomial.
TEST(MaskingTest, TheSharesAreThoseOfTheRecipe) {
  constexpr std::int64_t kLength = 1024, kSamples = 256;
  constexpr std::int32_t kText =
      300;  // no random id, so that what stayed is told from what was drawn
  const std::vector<std::int32_t> sample(kLength, kText);
  const Masking masking = Bert(11);
  double n_chosen = 0, n_mask = 0, n_kept = 0;
  std::vector<double> n_of_id(257, 0.0);
  for (std::int64_t g = 0; g < kSamples; ++g) {
    const MaskedSequence masked = masking.Mask(g, sample);
    for (const std::int64_t t : masked.positions) {
      const std::int32_t fed = masked.tokens[static_cast<std::size_t>(t)];
      n_chosen += 1;
      if (fed == 320) n_mask += 1;
      if (fed == kText) n_kept += 1;
      if (fed < 257) n_of_id[static_cast<std::size_t>(fed)] += 1;
    }
  }
  const auto expect_share = [](double n, double of, double p) {
    EXPECT_NEAR(n / of, p, 5.0 * std::sqrt(p * (1.0 - p) / of));
  };
  expect_share(n_chosen, kLength * kSamples, 0.15);
  expect_share(n_mask, n_chosen, 0.8);
  expect_share(n_kept, n_chosen, 0.1);
  const double n_random = n_chosen - n_mask - n_kept;
  double chi2 = 0.0;
  for (const double n : n_of_id)
    chi2 += (n - n_random / 257) * (n - n_random / 257) / (n_random / 257);
  EXPECT_NEAR(chi2, 256.0, 5.0 * std::sqrt(2.0 * 256.0));
}

TEST(MaskingTest, ATokenIsHiddenByItselfWhateverStandsAroundIt) {
  const Masking masking = Bert(3);
  const MaskedSequence whole = masking.Mask(9, Ids(0, 64)), part = masking.Mask(9, Ids(0, 40));
  const auto end = std::lower_bound(whole.positions.begin(), whole.positions.end(), 40);
  EXPECT_EQ(Positions(whole.positions.begin(), end), part.positions);
  EXPECT_TRUE(std::equal(part.tokens.begin(), part.tokens.end(), whole.tokens.begin()));
}

}  // namespace
}  // namespace longrun
