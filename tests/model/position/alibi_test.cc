// Expected numbers: an fp64 numpy script of arXiv:2108.12409, section 3, and its official code.
#include "tests/model/position/carry_out.h"

namespace longrun::testing {
namespace {

constexpr AttentionShape kCausal = {.n_head = 2, .head_dim = 8, .d_model = 16};
constexpr AttentionShape kBidirectional = {
    .n_head = 2, .head_dim = 8, .d_model = 16, .causal = false};
const Json kSymmetric = {{"method", "alibi"}, {"variant", "symmetric"}};
const Json kJaketae = {{"method", "alibi"}, {"variant", "jaketae"}};

std::vector<double> SlopesOf(std::int64_t n_head, const Json& given = "alibi") {
  return TermsOf(given, {.n_head = n_head, .head_dim = 8, .d_model = 8 * n_head})
      .key_bias_slope->slope;
}

TEST(AlibiTest, SlopesMatchTheListsOfThePapersCode) {
  ExpectNear(SlopesOf(8), std::vector<double>{0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625,
                                              0.0078125, 0.00390625});
  ExpectNear(SlopesOf(6), std::vector<double>{0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125});
  ExpectNear(SlopesOf(12),
             std::vector<double>{0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125, 0.00390625,
                                 0.70710678, 0.35355339, 0.17677670, 0.08838835});
  const std::vector<double> slopes = SlopesOf(16);
  EXPECT_NEAR(slopes.front(), 0.707106781, 1e-9);
  EXPECT_NEAR(slopes.back(), 0.003906250, 1e-9);
}

TEST(AlibiTest, GeometricSlopesAreSortedForEveryNumberOfHeads) {
  const std::vector<double> slopes = SlopesOf(6, {{"method", "alibi"}, {"slopes", "geometric"}});
  ASSERT_EQ(slopes.size(), 6u);
  for (std::size_t h = 0; h < 6; ++h) {
    EXPECT_NEAR(slopes[h], std::pow(2.0, -8.0 * static_cast<double>(h + 1) / 6.0), 1e-15);
  }
}

TEST(AlibiTest, PressMatchesTheVectors) {
  const Digested a = AttendFixture(TermsOf("alibi", kCausal), true);
  EXPECT_NEAR(a.digest, 2.685025470, 1e-6);
  ExpectNear(a.last, std::vector<double>{0.57850259, 0.42037380, 0.05908834, -0.33075311});
  const Digested six =
      AttendFixture(TermsOf("alibi", {.n_head = 6, .head_dim = 8, .d_model = 48}), true, 6);
  EXPECT_NEAR(six.digest, 7.316054731, 1e-6);
  ExpectNear(six.last, std::vector<double>{0.58020901, 0.46799429, 0.12960904, -0.27141318});
}

TEST(AlibiTest, SymmetricMatchesTheVectors) {
  const Digested a = AttendFixture(TermsOf(kSymmetric, kBidirectional), false);
  EXPECT_NEAR(a.digest, -0.395407064, 1e-6);
  ExpectNear(a.last, std::vector<double>{0.57850259, 0.42037380, 0.05908834, -0.33075311});
}

TEST(AlibiTest, JaketaeWithoutMaskMatchesTheVectors) {
  const Digested a = AttendFixture(TermsOf(kJaketae, kBidirectional), false);
  EXPECT_NEAR(a.digest, -0.728483353, 1e-6);
  ExpectNear(a.last, std::vector<double>{0.56155345, 0.44385879, 0.11165772, -0.27450488});
}

TEST(AlibiTest, JaketaeScalesByTheModelsWidthAndTakesGeometricSlopes) {
  const TermSpec terms = TermsOf(kJaketae, kCausal);
  EXPECT_EQ(terms.scale, 0.25);  // 1 / sqrt(16)
  EXPECT_EQ(ResolvePosition(kJaketae)->params.at("slopes"), "geometric");
  EXPECT_EQ(ResolvePosition("alibi")->params.at("slopes"), "nearest_power");
}

TEST(AlibiTest, JaketaeTakesTheOtherSlopesWhenAsked) {
  Json given = kJaketae;
  given["slopes"] = "nearest_power";
  EXPECT_EQ(ResolvePosition(given)->params.at("slopes"), "nearest_power");
}

TEST(AlibiTest, RefusesAVariantThatTheMaskContradicts) {
  EXPECT_EQ(RefusalOf("alibi", kBidirectional),
            "position.variant: \"press\" of method \"alibi\" needs model.causal: true; choose "
            "\"symmetric\" for a model without a causal mask");
  EXPECT_EQ(RefusalOf(kSymmetric, kCausal),
            "position.variant: \"symmetric\" of method \"alibi\" needs model.causal: false; choose "
            "\"press\" for a causal model");
}

TEST(AlibiTest, RefusesWhatItDoesNotKnow) {
  EXPECT_EQ(RefusalOf({{"method", "alibi"}, {"slope", "geometric"}}),
            "position.slope: unknown key; did you mean \"slopes\"?");
  EXPECT_EQ(RefusalOf({{"method", "alibi"}, {"variant", 3}}),
            "position.variant: expected one of press, symmetric, jaketae, found 3");
}

}  // namespace
}  // namespace longrun::testing
