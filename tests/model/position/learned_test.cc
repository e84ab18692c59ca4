#include "tests/model/position/carry_out.h"

namespace longrun::testing {
namespace {

constexpr AttentionShape kShape = {.n_head = 2, .head_dim = 8, .d_model = 16};

TEST(LearnedTest, AddsATableToTheInputAndNothingToAttention) {
  const TermSpec terms = TermsOf("learned", kShape);
  ASSERT_TRUE(terms.input_add.has_value());
  EXPECT_EQ(terms.input_add->learned_table, "wpe");
  EXPECT_EQ(terms.input_add->fill, nullptr);
  EXPECT_EQ(terms.input_add->multiplier, 1.0);
  EXPECT_FALSE(terms.key_bias_slope || terms.key_bias_gate || terms.rotation);
  EXPECT_TRUE(FindPositionMethod("learned").value()->has_position_table);
  EXPECT_NEAR(AttendFixture(terms, true).digest, 2.723244919, 1e-6);  // as none_test.cc
}

TEST(LearnedTest, RefusesPositionsPastTheTableUnlessToldOtherwise) {
  using Beyond = InputAdd::Beyond;
  EXPECT_EQ(TermsOf("learned", kShape).input_add->beyond, Beyond::kRefuse);
  EXPECT_EQ(TermsOf({{"method", "learned"}, {"beyond", "clamp"}}, kShape).input_add->beyond,
            Beyond::kClamp);
  EXPECT_EQ(TermsOf({{"method", "learned"}, {"beyond", "wrap"}}, kShape).input_add->beyond,
            Beyond::kWrap);
  EXPECT_EQ(RefusalOf({{"method", "learned"}, {"beyond", "clmap"}}),
            "position.beyond: expected one of refuse, clamp, wrap, found \"clmap\"; did you mean "
            "\"clamp\"?");
}

}  // namespace
}  // namespace longrun::testing
