// Expected numbers: an fp64 numpy script of arXiv:2104.09864, section 3.4.2.
#include "tests/model/position/carry_out.h"

namespace longrun::testing {
namespace {

constexpr AttentionShape kShape = {.n_head = 2, .head_dim = 8, .d_model = 16};
constexpr AttentionShape kBidirectional = {
    .n_head = 2, .head_dim = 8, .d_model = 16, .causal = false};

// x = G([8], 0.37, 0.11), rotated to position p.
std::vector<double> Rotated(const Json& given, std::int64_t p) {
  const CarriedOut carried(TermsOf(given, kShape), true, 2, p + 1);
  std::vector<double> x = Wave(8, 0.37, 0.11);
  RotateRow(*carried.terms().rotation, p, false, x);
  return x;
}

TEST(RopeTest, RotatedRowsMatchTheVectors) {
  ExpectNear(Rotated("rope", 7),
             std::vector<double>{-0.57410335, -0.24284943, 0.69870507, 0.93608471, 0.82588612,
                                 1.00512712, 0.77615461, 0.43394305});
  ExpectNear(Rotated({{"method", "rope"}, {"layout", "interleaved"}}, 7),
             std::vector<double>{-0.22062062, 0.42025923, -0.03037347, 1.20225093, 0.93265514,
                                 0.99287563, 0.72237498, 0.43244706});
  ExpectNear(Rotated({{"method", "rope"}, {"partial", 0.5}}, 7),
             std::vector<double>{-0.41081905, 0.39496500, 0.63851486, 0.96909765, 0.99981562,
                                 0.92521152, 0.72538439, 0.42737988});
  ExpectNear(Rotated({{"method", "rope"}, {"base", 500000}}, 1000),
             std::vector<double>{-0.76499006, 0.54577541, -0.59935255, 0.91505297, 0.65304881,
                                 0.87828559, 0.85520832, 0.47669616});
}

TEST(RopeTest, AttentionMatchesTheVectors) {
  const Digested half = AttendFixture(TermsOf("rope", kShape), true);
  EXPECT_NEAR(half.digest, 2.614576896, 1e-6);
  ExpectNear(half.last, std::vector<double>{0.55597830, 0.41769217, 0.07754534, -0.30007732});
  EXPECT_NEAR(
      AttendFixture(TermsOf({{"method", "rope"}, {"layout", "interleaved"}}, kShape), true).digest,
      2.512995126, 1e-6);
  EXPECT_NEAR(AttendFixture(TermsOf("rope", kBidirectional), false).digest, -0.331591469, 1e-6);
}

TEST(RopeTest, ScoresSeeTheDistanceAlone) {
  const CarriedOut carried(TermsOf("rope", kShape), true, 2, 2000);
  const auto score = [&](std::int64_t i, std::int64_t j) {
    std::vector<double> q = Wave(8, 0.37, 0.11);
    std::vector<double> k = Wave(8, 0.53, 0.29);
    RotateRow(*carried.terms().rotation, i, false, q);
    RotateRow(*carried.terms().rotation, j, false, k);
    double sum = 0.0;
    for (std::size_t c = 0; c < 8; ++c) sum += q[c] * k[c];
    return sum;
  };
  EXPECT_NEAR(score(7, 3), score(1007, 1003), 1e-11);
}

TEST(RopeTest, TheLayoutsAreOneFunctionAfterAPermutationOfChannels) {
  const std::vector<double> half = Rotated("rope", 7);
  const CarriedOut carried(TermsOf({{"method", "rope"}, {"layout", "interleaved"}}, kShape), true,
                           2, 8);
  const std::vector<double> x = Wave(8, 0.37, 0.11);
  std::vector<double> y(8);
  for (std::size_t c = 0; c < 4; ++c) {
    y[2 * c] = x[c];
    y[2 * c + 1] = x[c + 4];
  }
  RotateRow(*carried.terms().rotation, 7, false, y);
  for (std::size_t c = 0; c < 4; ++c) {
    EXPECT_EQ(y[2 * c], half[c]);
    EXPECT_EQ(y[2 * c + 1], half[c + 4]);
  }
}

TEST(RopeTest, RefusesOddOrNoRotaryChannelsAndWrongNumbers) {
  EXPECT_EQ(RefusalOf({{"method", "rope"}, {"partial", 0.4}}),
            "position.partial: 0.4 of head_dim 8 gives 3 rotary channels; expected an even number "
            "of at least 2");
  EXPECT_EQ(RefusalOf({{"method", "rope"}, {"partial", 0}}),
            "position.partial: 0 of head_dim 8 gives 0 rotary channels; expected an even number of "
            "at least 2");
  EXPECT_EQ(RefusalOf("rope", {.n_head = 1, .head_dim = 7, .d_model = 7}),
            "position.method: \"rope\" turns pairs of channels and needs an even head_dim, found 7 "
            "(model.d_model 7 / model.n_head 1); choose another model.n_head or d_model");
  EXPECT_EQ(
      RefusalOf("rope", {.n_head = 2, .head_dim = 7, .d_model = 16}),
      "position.method: \"rope\" turns pairs of channels and needs an even head_dim, found 7; "
      "choose an even model.head_dim");
  EXPECT_EQ(RefusalOf({{"method", "rope"}, {"partial", 1.5}}),
            "position.partial: expected a number from 0 to 1, found 1.5");
  EXPECT_EQ(
      RefusalOf({{"method", "rope"}, {"base", "10000"}}),
      "position.base: expected a number from 1 to 1000000000000, found \"10000\"; the quotes make "
      "it text: write 10000");
  EXPECT_EQ(RefusalOf({{"method", "rope"}, {"base", 1e300}}),
            "position.base: expected a number from 1 to 1000000000000, found 1e+300");
}

}  // namespace
}  // namespace longrun::testing
