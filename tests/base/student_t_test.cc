#include "base/student_t.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>

namespace longrun {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(StudentTTest, OneAndTwoDegreesOfFreedomHaveClosedForms) {
  for (const double t : {0.0, 1e-6, 0.1, 0.7, 1.0, 2.5, 12.7, 100.0, 1e5}) {
    EXPECT_NEAR(StudentTwoSidedP(t, 1.0) / (1.0 - 2.0 / std::numbers::pi * std::atan(t)), 1.0, 1e-9)
        << t;
    const double root = std::sqrt(2.0 + t * t);
    EXPECT_NEAR(StudentTwoSidedP(t, 2.0), 2.0 / (root * (root + t)), 1e-13) << t;
    EXPECT_EQ(StudentTwoSidedP(-t, 3.5), StudentTwoSidedP(t, 3.5));
  }
}

TEST(StudentTTest, ManyDegreesOfFreedomAreTheNormalDistribution) {
  EXPECT_NEAR(StudentTwoSidedP(1.959963984540054, kInfinity), 0.05, 1e-14);
  EXPECT_NEAR(StudentTwoSidedP(1.959963984540054, 1e6), 0.05, 1e-6);
  EXPECT_NEAR(StudentTwoSidedP(1.959963984540054, 9.9e6), 0.05, 1e-6);
  EXPECT_EQ(StudentTwoSidedP(kInfinity, 3.0), 0.0);
}

// From scipy.stats.t (1.17): 2 * t.sf(x, df) and t.ppf(0.975, df).
TEST(StudentTTest, AgreesWithSciPy) {
  EXPECT_NEAR(StudentTwoSidedP(2.0, 15.0), 0.06394500728472015, 1e-13);
  EXPECT_NEAR(StudentTwoSidedP(3.3, 4.0), 0.029933420084126066, 1e-13);
  EXPECT_NEAR(StudentTwoSidedP(0.4, 7.25), 0.7006807255620787, 1e-13);
  EXPECT_NEAR(StudentQuantile(0.95, 1.0), 12.706204736174694, 1e-8);
  EXPECT_NEAR(StudentQuantile(0.95, 2.0), 4.302652729749462, 1e-9);
  EXPECT_NEAR(StudentQuantile(0.95, 15.0), 2.131449545559776, 1e-9);
  EXPECT_NEAR(StudentQuantile(0.95, 8.37), 2.2883803622160133, 1e-8);
  EXPECT_NEAR(StudentQuantile(0.95, kInfinity), 1.959963984540054, 1e-12);
  EXPECT_NEAR(HalfInterval95(0.5, 2.0), 0.5 * 4.302652729749462, 1e-9);
}

TEST(StudentTTest, AQuantileHasItsProbability) {
  for (const double df : {0.5, 1.0, 2.7, 15.0, 400.0, 1e5, 1e8}) {
    for (const double level : {0.01, 0.5, 0.9, 0.95, 0.999}) {
      EXPECT_NEAR(StudentTwoSidedP(StudentQuantile(level, df), df), 1.0 - level, 1e-9)
          << df << " " << level;
    }
  }
}

}  // namespace
}  // namespace longrun
