// Expected numbers: an fp64 numpy script of arXiv:1706.03762, section 3.5.
#include "tests/model/position/carry_out.h"

namespace longrun::testing {
namespace {

constexpr AttentionShape kShape = {.n_head = 2, .head_dim = 4, .d_model = 8};

std::vector<double> RowOf(const Json& given, std::int64_t t, std::size_t width = 8) {
  const TermSpec terms = TermsOf(given, {.n_head = 1,
                                         .head_dim = static_cast<std::int64_t>(width),
                                         .d_model = static_cast<std::int64_t>(width)});
  std::vector<double> row(width, -7.0);
  terms.input_add->fill(t, row);
  return row;
}

TEST(SinusoidalTest, VaswaniRowsMatchTheVectors) {
  ExpectNear(RowOf("sinusoidal", 3),
             std::vector<double>{0.14112001, -0.98999250, 0.29552021, 0.95533649, 0.02999550,
                                 0.99955003, 0.00300000, 0.99999550});
  ExpectNear(RowOf("sinusoidal", 1000),
             std::vector<double>{0.82687954, 0.56237908, -0.50636564, 0.86231887, -0.54402111,
                                 -0.83907153, 0.84147098, 0.54030231});
}

TEST(SinusoidalTest, FairseqRowsMatchTheVector) {
  ExpectNear(RowOf({{"method", "sinusoidal"}, {"layout", "fairseq"}}, 3),
             std::vector<double>{0.14112001, 0.13879810, 0.00646326, 0.00030000, -0.98999250,
                                 0.99032070, 0.99997911, 0.99999996});
}

TEST(SinusoidalTest, FairseqLeavesTheLastColumnOfAnOddWidthZero) {
  const std::vector<double> row = RowOf({{"method", "sinusoidal"}, {"layout", "fairseq"}}, 3, 9);
  EXPECT_EQ(row.back(), 0.0);
  EXPECT_NEAR(row[4], std::cos(3.0), 1e-15);
}

TEST(SinusoidalTest, PositionZeroIsSinesOfZeroAndCosinesOfZero) {
  EXPECT_EQ(RowOf("sinusoidal", 0), (std::vector<double>{0, 1, 0, 1, 0, 1, 0, 1}));
}

TEST(SinusoidalTest, TheMultiplierIsOneUnlessGiven) {
  EXPECT_EQ(TermsOf("sinusoidal", kShape).input_add->multiplier, 1.0);
  EXPECT_EQ(TermsOf({{"method", "sinusoidal"}, {"multiplier", 22.5}}, kShape).input_add->multiplier,
            22.5);
}

TEST(SinusoidalTest, RefusesWidthsAndMultipliersThatItCannotServe) {
  EXPECT_EQ(
      RefusalOf("sinusoidal", {.n_head = 1, .head_dim = 9, .d_model = 9}),
      "position.layout: \"vaswani\" needs an even model.d_model, found 9; choose \"fairseq\", "
      "or an even width");
  EXPECT_EQ(RefusalOf({{"method", "sinusoidal"}, {"layout", "fairseq"}},
                      {.n_head = 1, .head_dim = 2, .d_model = 2}),
            "position.layout: \"fairseq\" needs model.d_model of at least 4, found 2");
  EXPECT_EQ(RefusalOf({{"method", "sinusoidal"}, {"multiplier", 0}}),
            "position.multiplier: expected a number from 0.001 to 1000, found 0");
  EXPECT_EQ(RefusalOf({{"method", "sinusoidal"}, {"multiplier", -1.5}}),
            "position.multiplier: expected a number from 0.001 to 1000, found -1.5");
}

}  // namespace
}  // namespace longrun::testing
