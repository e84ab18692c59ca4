// What our tests expect of their test library, so that GoogleTest and mini_gtest mean the same.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace longrun {
namespace {

TEST(AssertionTest, HoldsForValuesOfEveryKind) {
  EXPECT_EQ(1, 1);
  EXPECT_NE(std::string("a"), "b");
  EXPECT_LT(1, 2);
  EXPECT_LE(2, 2);
  EXPECT_GT(2.5, 2);
  EXPECT_GE(2, 2);
  EXPECT_EQ((std::vector<int>{1, 2}), (std::vector<int>{1, 2}));
  EXPECT_EQ((std::map<int, std::string>{{1, "a"}}), (std::map<int, std::string>{{1, "a"}}));
  EXPECT_STREQ("abc", std::string("abc").c_str());
  EXPECT_TRUE(std::make_unique<int>(1));
  EXPECT_FALSE(std::unique_ptr<int>()) << "not shown";
}

TEST(AssertionTest, FloatsAreEqualWithinFourSteps) {
  EXPECT_FLOAT_EQ(0.1f + 0.2f, 0.3f);
  EXPECT_DOUBLE_EQ(0.1 + 0.2, 0.3);
  EXPECT_DOUBLE_EQ(0.0, -0.0);
  EXPECT_NEAR(1.0, 1.1, 0.2);
}

TEST(AssertionTest, StandsInAnIfWithoutBraces) {
  bool is_reached = false;
  if (is_reached)
    EXPECT_TRUE(false);
  else
    is_reached = true;
  EXPECT_TRUE(is_reached);
}

TEST(AssertionTest, EvaluatesItsArgumentsOnce) {
  int n = 0;
  EXPECT_EQ(++n, 1);
  ASSERT_TRUE(++n == 2);
  EXPECT_EQ(n, 2);
}

class FixtureTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { ++n_suites; }
  void SetUp() override { value_ = 7; }
  static inline int n_suites = 0;
  int value_ = 0;
};

TEST_F(FixtureTest, IsSetUpForEachTest) {
  EXPECT_EQ(value_, 7);
  value_ = 8;
}
TEST_F(FixtureTest, IsNewForEachTest) {
  EXPECT_EQ(value_, 7);
  EXPECT_EQ(n_suites, 1);
}

class SquareTest : public ::testing::TestWithParam<int> {};

TEST_P(SquareTest, IsNeverNegative) { EXPECT_GE(GetParam() * GetParam(), 0); }

INSTANTIATE_TEST_SUITE_P(Some, SquareTest, ::testing::Values(-2, 0, 3));
INSTANTIATE_TEST_SUITE_P(Named, SquareTest, ::testing::ValuesIn(std::vector<int>{-1, 1}),
                         [](const ::testing::TestParamInfo<int>& named) {
                           return named.param < 0 ? "Negative" : "Positive";
                         });

TEST(SkipTest, EndsTheTest) {
  GTEST_SKIP() << "on purpose: nothing behind this line runs";
  FAIL();
}

}  // namespace
}  // namespace longrun
