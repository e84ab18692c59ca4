// Expected numbers: an fp64 numpy script of arXiv:2503.08067 and its official code.
#include "tests/model/position/carry_out.h"

namespace longrun::testing {
namespace {

constexpr AttentionShape kCausal = {.n_head = 2, .head_dim = 8, .d_model = 16};
constexpr AttentionShape kBidirectional = {
    .n_head = 2, .head_dim = 8, .d_model = 16, .causal = false};
constexpr KeyBiasSize kSize = {.n_head = 2, .n_key = 6};

Json Variant(std::string_view variant) { return {{"method", "cable"}, {"variant", variant}}; }

// x W^T + beta (T = 6, H = 2) of the vectors' x, W and beta.
std::vector<double> Gates() {
  const std::vector<double> x = Wave(6 * 16, 0.23, 0.17);
  const std::vector<double> w = Wave(2 * 16, 0.41, 0.31);
  const std::vector<double> beta = Wave(2, 0.9, 0.2);
  std::vector<double> gates;
  for (std::size_t t = 0; t < 6; ++t) {
    for (std::size_t h = 0; h < 2; ++h) {
      double sum = 0.1 * beta[h];
      for (std::size_t c = 0; c < 16; ++c) sum += x[t * 16 + c] * 0.5 * w[h * 16 + c];
      gates.push_back(sum);
    }
  }
  return gates;
}

TEST(CableTest, BiasesMatchTheVectors) {
  ExpectNear(ReferenceKeyBiasForward(kSize, Gates()),
             std::vector<double>{-1.06003361, -1.16187936, -4.47228129, -4.50802344, -7.07775300,
                                 -7.42231470, -0.74306756, -0.93492347, -3.88974346, -3.93394062,
                                 -6.74356468, -6.98684571});
}

TEST(CableTest, OfficialMatchesTheVectors) {
  const Digested a = AttendFixture(TermsOf("cable", kCausal), true, 2, Gates());
  EXPECT_NEAR(a.digest, 1.536791268, 1e-6);
  ExpectNear(a.last, std::vector<double>{0.70887150, 0.92378575, 0.69225629, 0.12617581});
}

TEST(CableTest, ScaledMatchesTheVectors) {
  const Digested a = AttendFixture(TermsOf(Variant("scaled"), kCausal), true, 2, Gates());
  EXPECT_NEAR(a.digest, 1.293553028, 1e-6);
  ExpectNear(a.last, std::vector<double>{0.14118649, 0.66754043, 0.87128794, 0.65396268});
}

TEST(CableTest, AugmentedMatchesTheVector) {
  const Digested a = AttendFixture(TermsOf(Variant("augmented"), kCausal), true, 2, Gates());
  EXPECT_NEAR(a.digest, 1.255182560, 1e-6);
}

TEST(CableTest, BidirectionalMatchesTheVector) {
  const Digested a =
      AttendFixture(TermsOf(Variant("bidirectional"), kBidirectional), false, 2, Gates());
  EXPECT_NEAR(a.digest, 0.799644178, 1e-6);
}

// dD(o)/da (T, H) through attention and the prefix sums.
std::vector<double> GateGradient(const TermSpec& spec, bool causal,
                                 const std::vector<double>& gates) {
  const Fixture fixture(2, 6, 8);
  const CarriedOut carried(spec, causal, 2, 6, gates);
  std::vector<double> dr =
      ReferenceAttentionBackward(fixture.Input(), carried.terms(), DigestGradient(fixture.q.size()))
          .key_bias;
  if (!spec.key_bias_gate->two_sided) {
    for (double& x : dr) x = -x;  // c = -r
  }
  return ReferenceKeyBiasBackward(kSize, gates, dr);
}

TEST(CableTest, GradientOfTheGatesMatchesTheVectors) {
  const std::vector<double> da = GateGradient(TermsOf("cable", kCausal), true, Gates());
  const std::vector<double> head0 = {0.0,        -0.00341912, -0.02219761,
                                     0.00142913, 0.05826077,  0.01873282};
  const std::vector<double> head1 = {0.0,         -0.00942891, -0.11999610,
                                     -0.00287796, 0.00836367,  0.00320035};
  for (std::size_t t = 0; t < 6; ++t) {
    EXPECT_NEAR(da[2 * t], head0[t], 1e-6);
    EXPECT_NEAR(da[2 * t + 1], head1[t], 1e-6);
  }
}

TEST(CableTest, GradientsOfTheGatesMatchCentralDifferences) {
  for (const bool causal : {true, false}) {
    const TermSpec spec =
        causal ? TermsOf("cable", kCausal) : TermsOf(Variant("bidirectional"), kBidirectional);
    std::vector<double> gates = Gates();
    const std::vector<double> da = GateGradient(spec, causal, gates);
    const auto loss = [&] { return AttendFixture(spec, causal, 2, gates).digest; };
    ExpectNear(da, CentralDifferences(gates, loss), 1e-8);
  }
}

TEST(CableTest, LearnsAWeightAndABiasPerLayer) {
  const TermSpec terms = TermsOf("cable", kCausal);
  ASSERT_EQ(terms.learned.size(), 2u);
  EXPECT_EQ(terms.learned[0].name, "weight");
  EXPECT_EQ(terms.learned[0].shape, (std::vector<std::int64_t>{2, 16}));
  EXPECT_EQ(terms.learned[0].init.std, 0.02);
  EXPECT_EQ(terms.learned[1].name, "bias");
  EXPECT_EQ(terms.learned[1].shape, (std::vector<std::int64_t>{2}));
  EXPECT_EQ(terms.learned[1].init.std, 0.0);
  EXPECT_EQ(terms.key_bias_gate->weight, "weight");
  EXPECT_EQ(terms.key_bias_gate->bias, "bias");
}

TEST(CableTest, TheOfficialScaleIsOne) {
  EXPECT_EQ(TermsOf("cable", kCausal).scale, 1.0);
  EXPECT_EQ(TermsOf(Variant("augmented"), kCausal).scale, 0.25);  // 1 / sqrt(16)
  EXPECT_EQ(TermsOf(Variant("scaled"), kCausal).scale, 1.0 / std::sqrt(8.0));
}

TEST(CableTest, RefusesAVariantThatTheMaskContradicts) {
  EXPECT_EQ(RefusalOf("cable", kBidirectional),
            "position.variant: \"official\" of method \"cable\" needs model.causal: true; choose "
            "\"bidirectional\" for a model without a causal mask");
  EXPECT_EQ(RefusalOf(Variant("bidirectional"), kCausal),
            "position.variant: \"bidirectional\" of method \"cable\" needs model.causal: false; "
            "choose \"official\" or \"scaled\" for a causal model");
}

TEST(CableTest, RefusesAVariantThatItDoesNotKnow) {
  EXPECT_EQ(RefusalOf(Variant("weighted")),
            "position.variant: expected one of official, scaled, augmented, bidirectional, found "
            "\"weighted\"");
  EXPECT_EQ(RefusalOf(Variant("offical")),
            "position.variant: expected one of official, scaled, augmented, bidirectional, found "
            "\"offical\"; did you mean \"official\"?");
}

}  // namespace
}  // namespace longrun::testing
