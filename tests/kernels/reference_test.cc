// The reference against closed forms, the vectors of fixture.h, and itself by central
// differences.
#include <gtest/gtest.h>

#include <limits>

#include "kernels/attention.h"
#include "kernels/dropout.h"
#include "kernels/reference/attention.h"
#include "kernels/reference/key_bias.h"
#include "kernels/rotation.h"
#include "tests/commit_seed.h"
#include "tests/kernels/fixture.h"
#include "tests/kernels/region_methods.h"

namespace longrun {
namespace {

using testing::AnyRegionMethod;
using testing::CentralDifferences;
using testing::Digest;
using testing::DigestGradient;
using testing::ExpectNear;
using testing::Fixture;
using testing::RegionMethod;
using testing::Stretch;
using testing::Wave;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// o[1][5][0..4) of a fixture with 2 heads, 6 positions and 8 channels.
std::span<const double> LastRowHead1(const std::vector<double>& o) {
  return std::span(o).subspan(11 * 8, 4);
}

// ---- values ------------------------------------------------------------------------------------

TEST(ReferenceAttentionTest, CausalMatchesTheBaselineVector) {
  const Fixture fixture(2, 6, 8);
  const auto out = ReferenceAttentionForward(fixture.Input(), {.scale = 1 / std::sqrt(8.0)});
  EXPECT_NEAR(Digest(out.o), 2.723244919, 1e-6);
  ExpectNear(LastRowHead1(out.o),
             std::vector<double>{0.57831485, 0.41712812, 0.05435327, -0.33468921}, 1e-6);
}

TEST(ReferenceAttentionTest, BidirectionalMatchesTheBaselineVector) {
  const Fixture fixture(2, 6, 8);
  const auto out = ReferenceAttentionForward(
      fixture.Input(), {.scale = 1 / std::sqrt(8.0), .visibility = {.causal = false}});
  EXPECT_NEAR(Digest(out.o), -0.475120493, 1e-6);
  ExpectNear(LastRowHead1(out.o),
             std::vector<double>{0.57831485, 0.41712812, 0.05435327, -0.33468921}, 1e-6);
}

TEST(ReferenceAttentionTest, ScaleOneMatchesTheBaselineVector) {
  const Fixture fixture(2, 6, 8);
  const auto out = ReferenceAttentionForward(fixture.Input(), {.scale = 1.0});
  EXPECT_NEAR(Digest(out.o), 2.619078853, 1e-6);
  ExpectNear(LastRowHead1(out.o),
             std::vector<double>{0.60770193, 0.38850580, -0.01844596, -0.41648323}, 1e-6);
}

TEST(ReferenceAttentionTest, EqualScoresGiveTheMeanOfTheVisibleValues) {
  const std::vector<double> q(3, 0.0);
  const std::vector<double> k = {0.3, -2.0, 1.0};
  const std::vector<double> v = {1.0, 3.0, 8.0};
  const AttentionSize size = {.n_head = 1, .n_kv_head = 1, .n_query = 3, .n_key = 3, .head_dim = 1};
  const auto out =
      ReferenceAttentionForward({.size = size, .q = q, .k = k, .v = v}, {.scale = 1.0});
  ExpectNear(out.o, std::vector<double>{1.0, 2.0, 4.0}, 1e-15);
  ExpectNear(out.lse, std::vector<double>{0.0, std::log(2.0), std::log(3.0)}, 1e-15);
}

TEST(ReferenceAttentionTest, AQueryThatSeesNoKeyGivesZeroAndNoGradient) {
  const Fixture fixture(2, 6, 8);
  const AttentionTerms terms = {.scale = 0.5, .visibility = {.q_offset = -2}};
  const auto out = ReferenceAttentionForward(fixture.Input(), terms);
  const auto gradient =
      ReferenceAttentionBackward(fixture.Input(), terms, DigestGradient(out.o.size()));
  for (std::size_t h = 0; h < 2; ++h) {
    EXPECT_EQ(out.lse[h * 6], -kInfinity);
    EXPECT_EQ(out.lse[h * 6 + 1], -kInfinity);
    EXPECT_GT(out.lse[h * 6 + 2], -kInfinity);
    for (std::size_t c = 0; c < 16; ++c) {
      EXPECT_EQ(out.o[h * 48 + c], 0.0);
      EXPECT_EQ(gradient.q[h * 48 + c], 0.0);
    }
  }
  for (const double x : gradient.k) EXPECT_TRUE(std::isfinite(x));
}

TEST(ReferenceAttentionTest, NoKeysAtAllGiveZero) {
  const std::vector<double> q = {1.0, 2.0};
  const AttentionSize size = {.n_head = 1, .n_kv_head = 1, .n_query = 1, .n_key = 0, .head_dim = 2};
  const auto out = ReferenceAttentionForward({.size = size, .q = q, .k = {}, .v = {}},
                                             {.scale = 1.0, .visibility = {.causal = false}});
  EXPECT_EQ(out.o, (std::vector<double>{0.0, 0.0}));
  EXPECT_EQ(out.lse[0], -kInfinity);
}

TEST(ReferenceAttentionTest, HugeScoresStayFinite) {
  const Fixture fixture(2, 6, 8);
  const auto out = ReferenceAttentionForward(fixture.Input(), {.scale = 1e4});
  for (const double x : out.o) EXPECT_TRUE(std::isfinite(x));
}

TEST(ReferenceAttentionTest, AConstantPerRowOfTheBiasChangesNothing) {
  const Fixture fixture(2, 6, 8);
  const std::vector<double> c = Wave(12, 0.9, 0.4);
  std::vector<double> shifted = c;
  for (double& x : shifted) x += 1000.0;
  const AttentionTerms terms = {.scale = 0.3, .key_bias = KeyBias{.values = c}};
  const AttentionTerms terms_shifted = {.scale = 0.3, .key_bias = KeyBias{.values = shifted}};
  ExpectNear(ReferenceAttentionForward(fixture.Input(), terms_shifted).o,
             ReferenceAttentionForward(fixture.Input(), terms).o, 1e-10);
}

TEST(ReferenceAttentionTest, CausalTwoSidedBiasIsTheOneSidedBiasOfTheOtherSign) {
  const Fixture fixture(2, 6, 8);
  const std::vector<double> r = Wave(12, 0.9, 0.4);
  std::vector<double> c = r;
  for (double& x : c) x = -x;
  const AttentionTerms two = {.scale = 0.3, .key_bias = KeyBias{.values = r, .two_sided = true}};
  const AttentionTerms one = {.scale = 0.3, .key_bias = KeyBias{.values = c}};
  ExpectNear(ReferenceAttentionForward(fixture.Input(), two).o,
             ReferenceAttentionForward(fixture.Input(), one).o, 1e-13);
}

TEST(ReferenceAttentionTest, ADecodedRowIsTheLastRowOfThePrefill) {
  const Fixture fixture(1, 6, 8);
  const std::vector<double> frequency = {1.0, 0.1, 0.01, 0.001};
  const auto table = MakeRotationTable(frequency, 6);
  const std::vector<double> c = Wave(6, 0.9, 0.4);
  AttentionTerms terms = {.scale = 0.3,
                          .key_bias = KeyBias{.values = c},
                          .rotation = table.View(RotationTable::Layout::kHalf, 8)};
  const auto whole = ReferenceAttentionForward(fixture.Input(), terms);

  AttentionInput last = fixture.Input();
  last.size.n_query = 1;
  last.q = last.q.subspan(5 * 8);
  terms.visibility.q_offset = 5;
  ExpectNear(ReferenceAttentionForward(last, terms).o,
             std::span<const double>(whole.o).subspan(5 * 8), 1e-15);
}

TEST(ReferenceAttentionTest, SharedKeyHeadsEqualRepeatedOnes) {
  const AttentionSize size = {
      .batch = 2, .n_head = 4, .n_kv_head = 2, .n_query = 5, .n_key = 5, .head_dim = 3};
  const std::vector<double> q = Wave(2 * 4 * 5 * 3, 0.37, 0.11);
  const std::vector<double> k = Wave(2 * 2 * 5 * 3, 0.53, 0.29);
  const std::vector<double> v = Wave(2 * 2 * 5 * 3, 0.71, 0.05);
  const auto repeat = [](const std::vector<double>& x) {
    std::vector<double> y;
    for (std::size_t head = 0; head < 4; ++head) {  // of both sequences
      for (int copy = 0; copy < 2; ++copy) {
        y.insert(y.end(), x.begin() + static_cast<std::ptrdiff_t>(head * 15),
                 x.begin() + static_cast<std::ptrdiff_t>(head * 15 + 15));
      }
    }
    return y;
  };
  const std::vector<double> k_repeated = repeat(k);
  const std::vector<double> v_repeated = repeat(v);
  AttentionSize size_repeated = size;
  size_repeated.n_kv_head = 4;
  const AttentionTerms terms = {.scale = 0.7};
  EXPECT_EQ(ReferenceAttentionForward({.size = size, .q = q, .k = k, .v = v}, terms).o,
            ReferenceAttentionForward(
                {.size = size_repeated, .q = q, .k = k_repeated, .v = v_repeated}, terms)
                .o);
}

// ---- gradients ---------------------------------------------------------------------------------

struct GradientCase {
  bool causal = true;
  bool bias = false;
  bool two_sided = false;
  bool rotated = false;
  RotationTable::Layout layout = RotationTable::Layout::kHalf;
  std::int64_t n_kv_head = 2;
};

// Every gradient of D(o) against central differences, in double: their error is below 1e-9.
void ExpectGradientsMatch(const GradientCase& c) {
  const AttentionSize size = {
      .batch = 2, .n_head = 2, .n_kv_head = c.n_kv_head, .n_query = 4, .n_key = 5, .head_dim = 6};
  std::vector<double> q = Wave(2 * 2 * 4 * 6, 0.37, 0.11);
  std::vector<double> k = Wave(2 * c.n_kv_head * 5 * 6, 0.53, 0.29);
  std::vector<double> v = Wave(2 * c.n_kv_head * 5 * 6, 0.71, 0.05);
  std::vector<double> bias = Wave(2 * 2 * 5, 0.9, 0.4);
  const auto table = MakeRotationTable(std::vector<double>{1.0, 0.05}, 5);
  AttentionTerms terms = {.scale = 0.8, .visibility = {.causal = c.causal, .q_offset = 1}};
  if (c.bias) terms.key_bias = KeyBias{.values = bias, .two_sided = c.two_sided};
  if (c.rotated) terms.rotation = table.View(c.layout, 4);

  const AttentionInput input = {.size = size, .q = q, .k = k, .v = v};
  const auto loss = [&] { return Digest(ReferenceAttentionForward(input, terms).o); };
  const auto gradient = ReferenceAttentionBackward(input, terms, DigestGradient(q.size()));
  ExpectNear(gradient.q, CentralDifferences(q, loss), 1e-8);
  ExpectNear(gradient.k, CentralDifferences(k, loss), 1e-8);
  ExpectNear(gradient.v, CentralDifferences(v, loss), 1e-8);
  if (c.bias) {
    ExpectNear(gradient.key_bias, CentralDifferences(bias, loss), 1e-8);
  }
  EXPECT_EQ(gradient.key_bias.empty(), !c.bias);
}

TEST(ReferenceAttentionTest, GradientsOfCausalAttentionMatchCentralDifferences) {
  ExpectGradientsMatch({});
}

TEST(ReferenceAttentionTest, GradientsOfBidirectionalAttentionMatchCentralDifferences) {
  ExpectGradientsMatch({.causal = false});
}

TEST(ReferenceAttentionTest, GradientsOfSharedKeyHeadsMatchCentralDifferences) {
  ExpectGradientsMatch({.n_kv_head = 1});
}

TEST(ReferenceAttentionTest, GradientsOfAKeyBiasMatchCentralDifferences) {
  ExpectGradientsMatch({.bias = true});
}

TEST(ReferenceAttentionTest, GradientsOfATwoSidedBiasMatchCentralDifferences) {
  ExpectGradientsMatch({.causal = false, .bias = true, .two_sided = true});
}

TEST(ReferenceAttentionTest, GradientsOfBothRotationsMatchCentralDifferences) {
  ExpectGradientsMatch({.rotated = true});
  ExpectGradientsMatch({.rotated = true, .layout = RotationTable::Layout::kInterleaved});
}

// Every number that a term has, beside what the loops say its gradient is.
void ExpectTermGradientsMatch(bool causal) {
  const AttentionSize size = {
      .batch = 2, .n_head = 2, .n_kv_head = 1, .n_query = 5, .n_key = 6, .head_dim = 4};
  std::vector<double> q = Wave(2 * 2 * 5 * 4, 0.37, 0.11);
  std::vector<double> k = Wave(2 * 6 * 4, 0.53, 0.29);
  std::vector<double> v = Wave(2 * 6 * 4, 0.71, 0.05);
  std::vector<double> table = Wave(2 * 5, 0.9, 0.4);
  std::vector<double> psi = {0.0, 0.3, 0.5, 0.6, 0.7, 0.75};
  std::vector<double> row_factor = {1.1, 1.2, 0.9, 1.0, 0.8, 1.05};
  const std::vector<double> knots = {0.2, 0.55};
  std::vector<double> slope = Wave(2 * 3, 1.3, 0.2);
  std::vector<double> intercept = Wave(2 * 3, 0.6, 0.7);
  const auto rotation = MakeRotationTable(std::vector<double>{1.0, 0.05}, 6);
  const std::vector<double> growth = {1.0, 1.0,  1.1, 1.05, 1.2, 1.1,
                                      1.3, 1.15, 1.4, 1.2,  1.5, 1.25};
  AttentionTerms terms = {
      .scale = 0.8,
      .visibility = {.causal = causal, .q_offset = 1, .window = 4, .n_sink = causal ? 1 : 0},
      .rotation = rotation.View(RotationTable::Layout::kHalf, 4),
      .distance_table = DistanceTable{.values = table, .n_distance = 5, .n_ahead = causal ? 0 : 2},
      .piecewise = PiecewiseLinear{.psi = psi,
                                   .row_factor = row_factor,
                                   .knots = knots,
                                   .slope = slope,
                                   .intercept = intercept},
      .dropout = Dropout{.probability = 0.3, .seed = 17}};
  terms.rotation->growth = growth;
  const std::vector<std::int32_t> rows = {2, 5, 0, 1, 1, 4, 3, 0, 2, 5, 4, 4};  // (B, T_k)
  if (!causal) terms.rotation->row = rows;

  const AttentionInput input = {.size = size, .q = q, .k = k, .v = v};
  const auto loss = [&] { return Digest(ReferenceAttentionForward(input, terms).o); };
  const auto gradient = ReferenceAttentionBackward(input, terms, DigestGradient(q.size()));
  ExpectNear(gradient.q, CentralDifferences(q, loss), 1e-8);
  ExpectNear(gradient.k, CentralDifferences(k, loss), 1e-8);
  ExpectNear(gradient.v, CentralDifferences(v, loss), 1e-8);
  ExpectNear(gradient.distance_table, CentralDifferences(table, loss), 1e-8);
  ExpectNear(gradient.slope, CentralDifferences(slope, loss), 1e-8);
  ExpectNear(gradient.intercept, CentralDifferences(intercept, loss), 1e-8);
  ExpectNear(gradient.psi, CentralDifferences(psi, loss), 1e-8);
  ExpectNear(gradient.row_factor, CentralDifferences(row_factor, loss), 1e-8);
}

TEST(ReferenceAttentionTest, GradientsOfTermsByDistanceMatchCentralDifferences) {
  ExpectTermGradientsMatch(true);
  ExpectTermGradientsMatch(false);
}

// T5 with 8 buckets up to distance 16, E = 0.3 G([8, 2], 0.57, 0.4), and KERPLE's logarithm with
// p = (0.8, 1.7), a = (0.3, 0.9): fp64 values of an independent program.
TEST(ReferenceAttentionTest, DistanceTablesMatchThePublishedFormulas) {
  const Fixture fixture(2, 6, 8);
  const std::vector<double> embedding = Wave(16, 0.57, 0.4);
  std::vector<double> t5, kerple;
  const std::vector<std::size_t> bucket = {0, 1, 2, 3, 4, 4};  // of distances 0 .. 5
  for (std::size_t h = 0; h < 2; ++h) {
    for (std::size_t d = 0; d < 6; ++d) {
      t5.push_back(0.3 * embedding[bucket[d] * 2 + h]);
      kerple.push_back(-(h == 0 ? 0.8 : 1.7) *
                       std::log1p((h == 0 ? 0.3 : 0.9) * static_cast<double>(d)));
    }
  }
  AttentionTerms terms = {.scale = 1 / std::sqrt(8.0),
                          .distance_table = DistanceTable{.values = t5, .n_distance = 6}};
  EXPECT_NEAR(Digest(ReferenceAttentionForward(fixture.Input(), terms).o), 2.428691135, 1e-6);
  terms.distance_table->values = kerple;
  EXPECT_NEAR(Digest(ReferenceAttentionForward(fixture.Input(), terms).o), 1.783515793, 1e-6);
}

// xPos: channel pair c grows by zeta_c^(n / 512), zeta_c = (2c + 0.4 D) / (1.4 D), n = p - 3.
TEST(ReferenceAttentionTest, AGrowingRotationMatchesXPos) {
  const Fixture fixture(2, 6, 8);
  std::vector<double> frequency, growth;
  for (int c = 0; c < 4; ++c) frequency.push_back(std::pow(10000.0, -c / 4.0));
  for (int p = 0; p < 6; ++p) {
    for (int c = 0; c < 4; ++c) {
      growth.push_back(std::pow((2.0 * c + 3.2) / 11.2, (p - 3) / 512.0));
    }
  }
  const auto table = MakeRotationTable(frequency, 6);
  AttentionTerms terms = {.scale = 1 / std::sqrt(8.0),
                          .rotation = table.View(RotationTable::Layout::kInterleaved, 8)};
  terms.rotation->growth = growth;
  EXPECT_NEAR(Digest(ReferenceAttentionForward(fixture.Input(), terms).o), 2.512652427, 1e-6);
}

// Two documents of three positions are two calls.
TEST(ReferenceAttentionTest, DocumentsAreAsIfAlone) {
  const Fixture fixture(1, 6, 4);
  const std::vector<std::int32_t> cu_seqlens = {0, 3, 6};
  const std::vector<std::int32_t> begins = DocumentBegins(cu_seqlens);
  EXPECT_EQ(begins, (std::vector<std::int32_t>{0, 0, 0, 3, 3, 3}));
  const auto packed = ReferenceAttentionForward(
      fixture.Input(), {.scale = 0.5, .visibility = {.document_begin = begins}});
  AttentionInput second = fixture.Input();
  second.size.n_query = second.size.n_key = 3;
  for (auto* x : {&second.q, &second.k, &second.v}) *x = x->subspan(12);
  const auto alone = ReferenceAttentionForward(second, {.scale = 0.5});
  ExpectNear(std::span<const double>(packed.o).subspan(12), alone.o, 1e-15);
}

// A window of 2 sees itself and one before, and with a sink the first key, too.
TEST(ReferenceAttentionTest, WindowsAndSinksSeeWhatTheySay) {
  const std::vector<double> q(5, 0.0);
  const std::vector<double> k(5, 0.0);
  const std::vector<double> v = {1.0, 10.0, 100.0, 1000.0, 10000.0};
  const AttentionSize size = {.n_head = 1, .n_kv_head = 1, .n_query = 5, .n_key = 5, .head_dim = 1};
  const AttentionInput input = {.size = size, .q = q, .k = k, .v = v};
  AttentionTerms terms = {.scale = 1.0, .visibility = {.window = 2}};
  ExpectNear(ReferenceAttentionForward(input, terms).o,
             std::vector<double>{1.0, 5.5, 55.0, 550.0, 5500.0}, 1e-10);
  terms.visibility.n_sink = 1;
  ExpectNear(ReferenceAttentionForward(input, terms).o,
             std::vector<double>{1.0, 5.5, 37.0, 367.0, 3667.0}, 1e-9);
}

TEST(ReferenceAttentionTest, DropoutKeepsWhatItsWordsSay) {
  const Dropout dropout = {.probability = 0.5, .seed = 0x0123456789abcdefULL, .offset = 3};
  std::int64_t n_kept = 0;
  for (std::int64_t j = 0; j < 40000; ++j) n_kept += DropoutKeeps(dropout, 1, 2, j) ? 1 : 0;
  EXPECT_NEAR(static_cast<double>(n_kept), 20000.0, 500.0);  // 5 standard deviations
  // Element 5 of a block of 8 is the upper half of word 2.
  const auto words = Philox4x32({1, 2, 1, 3}, {0x89abcdef, 0x01234567});
  EXPECT_EQ(DropoutKeeps(dropout, 1, 2, 13), (words[2] >> 16) >= 32768);
  EXPECT_EQ(DropoutFactor(dropout), 2.0);
}

TEST(ReferenceAttentionTest, GradientOfAKeyBiasSumsToZeroInEachHead) {
  const Fixture fixture(2, 6, 8);
  const std::vector<double> c = Wave(12, 0.9, 0.4);
  const auto gradient =
      ReferenceAttentionBackward(fixture.Input(), {.scale = 1.0, .key_bias = KeyBias{.values = c}},
                                 DigestGradient(fixture.q.size()));
  for (std::size_t h = 0; h < 2; ++h) {
    double sum = 0.0;
    for (std::size_t j = 0; j < 6; ++j) sum += gradient.key_bias[h * 6 + j];
    EXPECT_NEAR(sum, 0.0, 1e-15);
  }
}

// ---- regions -----------------------------------------------------------------------------------

std::vector<double> RopeFrequencies(std::int64_t n_rotary) {
  std::vector<double> frequency;
  for (std::int64_t c = 0; c < n_rotary / 2; ++c) {
    frequency.push_back(
        std::pow(10000.0, -2.0 * static_cast<double>(c) / static_cast<double>(n_rotary)));
  }
  return frequency;
}

// A table whose rows are `steps` to a position.
RotationTableData RowsOf(std::int64_t n_rotary, std::int64_t steps, std::int64_t n_row) {
  std::vector<double> frequency = RopeFrequencies(n_rotary);
  for (double& f : frequency) f /= static_cast<double>(steps);
  return MakeRotationTable(frequency, n_row);
}

// <q, k turned back by a distance>
double ProductAtDistance(std::span<const double> q, std::span<const double> k, double distance) {
  const std::vector<double> frequency = RopeFrequencies(static_cast<std::int64_t>(q.size()));
  const std::size_t half = frequency.size();
  double product = 0.0;
  for (std::size_t c = 0; c < half; ++c) {
    const double angle = -distance * frequency[c];
    const double x = k[c] * std::cos(angle) - k[c + half] * std::sin(angle);
    const double y = k[c] * std::sin(angle) + k[c + half] * std::cos(angle);
    product += q[c] * x + q[c + half] * y;
  }
  return product;
}

double ProductOf(const RegionMethod& method, std::int64_t p, std::int64_t j,
                 std::span<const double> q, std::span<const double> k) {
  const double product = ProductAtDistance(q, k, method.distance(p, j));
  if (!method.weight) return product;
  const double weight = method.weight(p, j);
  return (1.0 - weight) * product + weight * ProductAtDistance(q, k, method.other_distance(p, j));
}

// Causal attention as the method's paper has it, one pair after the other: q_i is left as it is,
// and k_j turned back by their distance. No table, no region, no code of the reference.
std::vector<double> AttentionByDistance(const AttentionInput& input, double scale,
                                        std::int64_t q_offset, const RegionMethod& method) {
  const AttentionSize& n = input.size;
  const auto d = static_cast<std::size_t>(n.head_dim);
  std::vector<double> o(input.q.size(), 0.0);
  for (std::int64_t row = 0; row < n.batch * n.n_head * n.n_query; ++row) {
    const std::int64_t head = row / n.n_query, p = q_offset + row % n.n_query;
    const std::int64_t kv_head = head / (n.n_head / n.n_kv_head);  // b H_kv + h_kv
    const std::span<const double> q = input.q.subspan(static_cast<std::size_t>(row) * d, d);
    double sum = 0.0;
    for (std::int64_t j = 0; j < n.n_key; ++j) {
      if (j > p || !method.sees(p, j)) continue;
      const auto key = static_cast<std::size_t>(kv_head * n.n_key + j);
      const double weight =
          std::exp(scale * ProductOf(method, p, j, q, input.k.subspan(key * d, d)));
      sum += weight;
      for (std::size_t c = 0; c < d; ++c) {
        o[static_cast<std::size_t>(row) * d + c] += weight * input.v[key * d + c];
      }
    }
    for (std::size_t c = 0; c < d && sum > 0.0; ++c)
      o[static_cast<std::size_t>(row) * d + c] /= sum;
  }
  return o;
}

std::vector<double> AttentionByRegions(const AttentionInput& input, double scale,
                                       std::int64_t q_offset, const RegionMethod& method,
                                       double table_factor = 1.0) {
  RotationTableData table =
      RowsOf(input.size.head_dim, method.steps,
             method.steps * (2 * (input.size.n_key + input.size.n_query + q_offset) + 1));
  for (auto* numbers : {&table.cos, &table.sin}) {
    for (double& x : *numbers) x *= table_factor;
  }
  const std::vector<Region> regions = method.Views();
  const AttentionTerms terms = {
      .scale = scale,
      .visibility = {.q_offset = q_offset, .window = method.window, .n_sink = method.n_sink},
      .rotation = table.View(RotationTable::Layout::kHalf, input.size.head_dim),
      .regions = regions};
  return ReferenceAttentionForward(input, terms).o;
}

// D(o) of FX(2, T, 8) for each method: fp64 values of an independent program.
TEST(ReferenceAttentionTest, RegionsMatchThePublishedMethods) {
  struct Case {
    std::int64_t length;
    RegionMethod method;
    double digest, table_factor = 1.0;
  };
  const Stretch nine = {.n_query = 9, .n_key = 9}, twelve = {.n_query = 12, .n_key = 12},
                many = {.n_query = 24, .n_key = 24};
  const Case cases[] = {
      {9, StreamingLlm(nine, 2, 4), 0.145814230},
      {9, LmInfinite(nine, 4, 2, 4), 0.140621521},
      {9, ReRope(nine, 3, 0), 0.241346548},
      {9, ReRope(nine, 3, 2), 0.156811240},
      {12, SelfExtend(twelve, 3, 4), 1.522753202},
      {12, SelfExtend(twelve, 3, 4, true), 1.572884765},
      {12, SelfExtend(twelve, 2, 4), 1.515952655},
      {24, ChunkLlama(many, 10, 12), 0.917632108},
      // Its temperature: angles' cosines and sines times 1 + 0.1 ln(T / 16), T = 24.
      {24, ChunkLlama(many, 10, 12), 0.851717563, 1.0 + 0.1 * std::log(1.5)},
      {24, ChunkLlama(many, 11, 12), 0.953774231}};
  for (const Case& c : cases) {
    const Fixture fixture(2, c.length, 8);
    const std::vector<double> o =
        AttentionByRegions(fixture.Input(), 1 / std::sqrt(8.0), 0, c.method, c.table_factor);
    EXPECT_NEAR(Digest(o), c.digest, 1e-6) << c.method.name;
    if (c.table_factor != 1.0) continue;
    ExpectNear(o, AttentionByDistance(fixture.Input(), 1 / std::sqrt(8.0), 0, c.method), 1e-12);
  }
}

// ReRoPE's queries grow with their position, which is the caller's to do.
TEST(ReferenceAttentionTest, RegionsOfGrownQueriesMatchReRope) {
  Fixture fixture(2, 9, 8);
  for (std::size_t at = 0; at < fixture.q.size(); ++at) {
    const auto i = static_cast<double>(at / 8 % 9);
    fixture.q[at] *= std::max(1.0, std::log(i + 1.0) / std::log(4.0));
  }
  const RegionMethod method = testing::ReRope({.n_query = 9, .n_key = 9}, 3, 0);
  EXPECT_NEAR(Digest(AttentionByRegions(fixture.Input(), 1 / std::sqrt(8.0), 0, method)),
              0.243631203, 1e-6);
}

// The positions, scores and output that an independent program gives for GALI.
TEST(ReferenceAttentionTest, BlendedKeysMatchGali) {
  const auto expect_positions = [](std::int64_t length, std::int64_t window, std::int64_t n,
                                   const std::vector<double>& expected) {
    ExpectNear(testing::GaliPositions(length, window, n), expected, 1e-6);
  };
  expect_positions(8, 2, 12, {0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 7});
  expect_positions(8, 2, 9, {0, 0.5, 1, 2, 3, 4, 5, 6, 7});
  expect_positions(8, 2, 15,
                   {0, 0.333333, 0.666667, 1, 1.333333, 1.666667, 2, 2.333333, 2.666667, 3,
                    3.333333, 4, 5, 6, 7});
  double sum = 0.0;
  for (const double p : testing::GaliPositions(16, 4, 41)) sum += p;
  EXPECT_NEAR(sum, 224.25, 1e-9);

  const Fixture fixture(2, 12, 8);
  const double scale = 1 / std::sqrt(8.0);
  const RegionMethod gali = testing::Gali({.n_query = 12, .n_key = 12}, 8, 2);
  const double scores[] = {1.26371727, -0.82696906, -0.23172984, 1.10136826};
  const double weights[] = {0, 0.5, 0, 0.5};
  for (std::int64_t j = 0; j < 4; ++j) {
    const AttentionInput input = fixture.Input();
    const double product = ProductOf(gali, 11, j, input.q.subspan(11 * 8, 8),
                                     input.k.subspan(static_cast<std::size_t>(j) * 8, 8));
    EXPECT_NEAR(scale * product, scores[j], 1e-6);
    EXPECT_EQ(gali.weight(11, j), weights[j]);
  }
  const std::vector<double> o = AttentionByRegions(fixture.Input(), scale, 0, gali);
  EXPECT_NEAR(Digest(o), 1.877261317, 1e-6);
  ExpectNear(o, AttentionByDistance(fixture.Input(), scale, 0, gali), 1e-12);
}

// Keys that turn by nothing and by half a circle at once are no longer there, and all scores are 0.
TEST(ReferenceAttentionTest, KeysBlendedWithTheirOppositesGiveTheMean) {
  const Fixture fixture(1, 3, 2);
  const std::vector<double> cos = {1.0, -1.0}, sin = {0.0, 0.0}, half(3, 0.5);
  const std::vector<std::int32_t> here(3, 0), opposite(3, 1);
  const std::vector<Region> regions = {{.query_row = here,
                                        .key_row = here,
                                        .blended = BlendedKeys{.row = opposite, .weight = half}}};
  const AttentionTerms terms = {.scale = 3.0,
                                .visibility = {.causal = false},
                                .rotation = RotationTable{.cos = cos, .sin = sin, .n_rotary = 2},
                                .regions = regions};
  const auto out = ReferenceAttentionForward(fixture.Input(), terms);
  for (std::size_t at = 0; at < 6; ++at) {
    const std::size_t c = at % 2;
    EXPECT_NEAR(out.o[at], (fixture.v[c] + fixture.v[2 + c] + fixture.v[4 + c]) / 3, 1e-15);
  }
}

TEST(ReferenceAttentionTest, RegionsOfAnyMethodAreItsDistances) {
  SeededRandom random(testing::CommitSeed());
  for (int round = 0; round < 40; ++round) {
    const auto q_offset = static_cast<std::int64_t>(random.Below(30));
    const auto n_query = 1 + static_cast<std::int64_t>(random.Below(20));
    const Stretch n = {.n_query = n_query, .n_key = q_offset + n_query, .q_offset = q_offset};
    const AttentionSize size = {.batch = 2,
                                .n_head = 4,
                                .n_kv_head = 2,
                                .n_query = n.n_query,
                                .n_key = n.n_key,
                                .head_dim = 6};
    const double phase = random.Uniform();
    const std::vector<double> q = Wave(8 * n.n_query * 6, 0.37, phase),
                              k = Wave(4 * n.n_key * 6, 0.53, phase),
                              v = Wave(4 * n.n_key * 6, 0.71, phase);
    const AttentionInput input = {.size = size, .q = q, .k = k, .v = v};
    const RegionMethod method = AnyRegionMethod(n, random);
    SCOPED_TRACE(method.name + ", seed " + std::to_string(testing::CommitSeed()));
    ExpectNear(AttentionByRegions(input, 0.7, q_offset, method),
               AttentionByDistance(input, 0.7, q_offset, method), 1e-12);
  }
}

// ---- rotation ----------------------------------------------------------------------------------

TEST(RotationTest, TurningBackRestoresTheRow) {
  const auto table = MakeRotationTable(std::vector<double>{1.0, 0.1}, 1000);
  for (const auto layout : {RotationTable::Layout::kHalf, RotationTable::Layout::kInterleaved}) {
    std::vector<double> row = Wave(6, 0.37, 0.11);
    RotateRow(table.View(layout, 4), 999, false, row);
    RotateRow(table.View(layout, 4), 999, true, row);
    ExpectNear(row, Wave(6, 0.37, 0.11), 1e-15);
  }
}

// ---- key bias ----------------------------------------------------------------------------------

TEST(KeyBiasTest, ZeroGatesCostLogTwoAStep) {
  const std::vector<double> a(2 * 3, 0.0);
  const double step = std::log(2.0);
  ExpectNear(ReferenceKeyBiasForward({.n_head = 2, .n_key = 3}, a),
             std::vector<double>{-step, -2 * step, -3 * step, -step, -2 * step, -3 * step}, 1e-15);
}

TEST(KeyBiasTest, HugeGatesStayFinite) {
  const std::vector<double> a = {1e6, -1e6};
  const KeyBiasSize size = {.n_head = 1, .n_key = 2};
  ExpectNear(ReferenceKeyBiasForward(size, a), std::vector<double>{-1e6, -1e6}, 0.0);
  ExpectNear(ReferenceKeyBiasBackward(size, a, std::vector<double>{1.0, 1.0}),
             std::vector<double>{-2.0, 0.0}, 0.0);
}

TEST(KeyBiasTest, GradientMatchesCentralDifferences) {
  const KeyBiasSize size = {.batch = 2, .n_head = 3, .n_key = 5};
  std::vector<double> a = Wave(30, 0.8, 0.2);
  const auto loss = [&] { return Digest(ReferenceKeyBiasForward(size, a)); };
  ExpectNear(ReferenceKeyBiasBackward(size, a, DigestGradient(30)), CentralDifferences(a, loss),
             1e-8);
}

}  // namespace
}  // namespace longrun
