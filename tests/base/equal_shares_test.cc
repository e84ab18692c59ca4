#include "base/equal_shares.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

namespace longrun {
namespace {

// From scipy.stats.fisher_exact (1.17).
TEST(FisherTest, AgreesWithSciPy) {
  EXPECT_NEAR(FisherP(0, 20, 5, 20), 0.04712404712404713, 1e-13);
  EXPECT_NEAR(FisherP(10, 50, 0, 50), 0.0011868393451716576, 1e-14);
  EXPECT_NEAR(FisherP(20, 20, 0, 20) / 1.4508889103849688e-11, 1.0, 1e-10);
  EXPECT_NEAR(FisherP(7, 12, 3, 31), 0.001980405839223749, 1e-14);
  EXPECT_NEAR(FisherP(45, 50, 40, 50), 0.2623394573533714, 1e-12);
}

TEST(FisherTest, EqualSharesAreNeverApart) {
  for (const std::int64_t n : {1, 2, 7, 50, 1000}) {
    for (const std::int64_t right : {std::int64_t{0}, n / 2, n}) {
      EXPECT_NEAR(FisherP(right, n, right, n), 1.0, 1e-9) << right << " of " << n;
    }
  }
}

// Of two answers, one right: 1 of 1 against 0 of 1 and the reverse are equally probable.
TEST(FisherTest, OneAnswerEachShowsNothing) { EXPECT_NEAR(FisherP(1, 1, 0, 1), 1.0, 1e-12); }

// `up` questions that only the second side answers, `down` that only the first does, and some more
// that both do.
double McNemar(std::size_t up, std::size_t down) {
  std::vector<std::int64_t> differences(up, 1);
  differences.insert(differences.end(), down, -1);
  differences.insert(differences.end(), 17, 0);
  return SignFlipP(differences);
}

// From scipy.stats.binomtest(up, up + down, 0.5) (1.17), which is the exact test of McNemar.
TEST(SignFlipTest, OfSingleAnswersIsMcNemarsExactTest) {
  EXPECT_NEAR(McNemar(0, 5), 0.0625, 1e-14);
  EXPECT_NEAR(McNemar(3, 7), 0.34375, 1e-13);
  EXPECT_NEAR(McNemar(20, 0) / std::exp2(-19), 1.0, 1e-10);
  EXPECT_NEAR(McNemar(60, 40), 0.05688793364098089, 1e-12);
  EXPECT_NEAR(McNemar(400, 500), 0.0009564441369189373, 1e-12);
}

// Counted over all 2^n signs in Python; scipy.stats.permutation_test (1.17,
// permutation_type='samples', n_resamples=inf) gives the same.
TEST(SignFlipTest, OfLargerDifferencesCountsAllSigns) {
  EXPECT_NEAR(SignFlipP(std::vector<std::int64_t>{3, -1, 2, 0, 1, 2}), 12.0 / 64, 1e-14);
  EXPECT_NEAR(SignFlipP(std::vector<std::int64_t>{2, 2, -1, 1, 3, -2, 1, 0, 1}), 124.0 / 512,
              1e-14);
}

TEST(SignFlipTest, WithoutAnyDifferenceIsOne) {
  EXPECT_EQ(SignFlipP({}), 1.0);
  EXPECT_EQ(SignFlipP(std::vector<std::int64_t>(50, 0)), 1.0);
  EXPECT_NEAR(SignFlipP(std::vector<std::int64_t>{1, -1}), 1.0, 1e-14);
}

}  // namespace
}  // namespace longrun
