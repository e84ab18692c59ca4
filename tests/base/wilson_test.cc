#include "base/wilson.h"

#include <gtest/gtest.h>

namespace longrun {
namespace {

// Of none of n, the formula is 0 to z^2 / (n + z^2); of all of them its mirror image. In between,
// 45 of 50: 0.786397686 to 0.956524235 (R: prop.test(45, 50, correct = FALSE)).
TEST(WilsonTest, TheIntervalStaysWithinZeroAndOne) {
  constexpr double kZ2 = 1.959963984540054 * 1.959963984540054;
  const auto none = Wilson95(0.0, 20.0), all = Wilson95(1.0, 20.0), most = Wilson95(0.9, 50.0);
  EXPECT_EQ(none.first, 0.0);
  EXPECT_NEAR(none.second, kZ2 / (20.0 + kZ2), 1e-12);
  EXPECT_NEAR(all.first, 20.0 / (20.0 + kZ2), 1e-12);
  EXPECT_EQ(all.second, 1.0);
  EXPECT_NEAR(most.first, 0.786397686, 1e-9);
  EXPECT_NEAR(most.second, 0.956524235, 1e-9);
}

}  // namespace
}  // namespace longrun
