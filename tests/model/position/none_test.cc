// Expected numbers: plain softmax attention over fixture.h's inputs, by an fp64 numpy script.
#include "tests/model/position/carry_out.h"

namespace longrun::testing {
namespace {

TEST(NoneTest, AttentionMatchesTheBaselineVectors) {
  const AttentionShape causal = {.n_head = 2, .head_dim = 8, .d_model = 16};
  const AttentionShape both = {.n_head = 2, .head_dim = 8, .d_model = 16, .causal = false};
  const std::vector<double> last = {0.57831485, 0.41712812, 0.05435327, -0.33468921};
  const Digested a = AttendFixture(TermsOf("none", causal), true);
  EXPECT_NEAR(a.digest, 2.723244919, 1e-6);
  ExpectNear(a.last, last);
  const Digested b = AttendFixture(TermsOf("none", both), false);
  EXPECT_NEAR(b.digest, -0.475120493, 1e-6);
  ExpectNear(b.last, last);
}

TEST(NoneTest, ContributesNothingAndLearnsNothing) {
  const TermSpec terms = TermsOf("none", {.n_head = 2, .head_dim = 8, .d_model = 16});
  EXPECT_FALSE(terms.key_bias_slope || terms.key_bias_gate || terms.rotation || terms.input_add);
  EXPECT_TRUE(terms.learned.empty());
}

TEST(NoneTest, TakesNoParameters) {
  EXPECT_EQ(RefusalOf({{"method", "none"}, {"base", 2}}),
            "position.base: unknown key; there are none");
}

}  // namespace
}  // namespace longrun::testing
