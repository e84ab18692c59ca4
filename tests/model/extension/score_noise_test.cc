// The noise that a reading adds to scores: its distribution, and what it depends on.
#include "model/extension/score_noise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <set>
#include <vector>

#include "base/random.h"
#include "tests/commit_seed.h"

namespace longrun {
namespace {

using Kind = ReadingNoise::Kind;

std::vector<double> Row(Kind kind, std::uint64_t seed, const NoiseRow& row, std::size_t n) {
  std::vector<double> drawn(n);
  DrawNoise({.kind = kind, .seed = seed}, row, drawn);
  return drawn;
}

// 2^21 numbers: 4 layers x 8 heads x 16 queries x 4096 keys.
std::vector<double> Many(Kind kind, std::uint64_t seed) {
  std::vector<double> all;
  for (std::int64_t layer = 0; layer < 4; ++layer) {
    for (std::int64_t head = 0; head < 8; ++head) {
      for (std::int64_t i = 5000; i < 5016; ++i) {
        const auto row = Row(kind, seed, {.layer = layer, .head = head, .i = i}, 4096);
        all.insert(all.end(), row.begin(), row.end());
      }
    }
  }
  return all;
}

double MeanOf(const std::vector<double>& x, double (*f)(double)) {
  double sum = 0.0;
  for (const double one : x) sum += f(one);
  return sum / static_cast<double>(x.size());
}

// A sample mean of n numbers of variance v is farther than 6 sqrt(v / n) from the mean once in 5e8
// samples.
void ExpectMean(double found, double mean, double variance, std::size_t n) {
  EXPECT_NEAR(found, mean, 6.0 * std::sqrt(variance / static_cast<double>(n)));
}

class ScoreNoiseTest : public ::testing::Test {
 protected:
  const std::uint64_t seed_ = testing::CommitSeed();
  const ::testing::ScopedTrace trace_{__FILE__, __LINE__, ::testing::Message() << "seed " << seed_};
};

TEST_F(ScoreNoiseTest, GaussianNoiseHasTheMomentsOfTheNormalDistribution) {
  const std::vector<double> x = Many(Kind::kGaussian, seed_);
  const std::size_t n = x.size();
  // The moments of order 1 to 4 are 0, 1, 0, 3; those of order 2, 4, 6, 8 are 1, 3, 15, 105.
  ExpectMean(MeanOf(x, [](double e) { return e; }), 0.0, 1.0, n);
  ExpectMean(MeanOf(x, [](double e) { return e * e; }), 1.0, 3.0 - 1.0, n);
  ExpectMean(MeanOf(x, [](double e) { return e * e * e; }), 0.0, 15.0, n);
  ExpectMean(MeanOf(x, [](double e) { return e * e * e * e; }), 3.0, 105.0 - 9.0, n);
  const double beyond_two = std::erfc(2.0 / std::numbers::sqrt2);
  ExpectMean(MeanOf(x, [](double e) { return std::abs(e) > 2.0 ? 1.0 : 0.0; }), beyond_two,
             beyond_two * (1.0 - beyond_two), n);
}

TEST_F(ScoreNoiseTest, UniformNoiseIsEvenBetweenZeroAndOne) {
  const std::vector<double> x = Many(Kind::kUniform, seed_);
  const std::size_t n = x.size();
  ExpectMean(MeanOf(x, [](double u) { return u; }), 1.0 / 2.0, 1.0 / 12.0, n);
  ExpectMean(MeanOf(x, [](double u) { return u * u; }), 1.0 / 3.0, 1.0 / 5.0 - 1.0 / 9.0, n);
  ExpectMean(MeanOf(x, [](double u) { return u < 0.1 ? 1.0 : 0.0; }), 0.1, 0.09, n);
  for (const double u : x) ASSERT_TRUE(u > 0.0 && u < 1.0);
}

// The correlation of independent numbers has variance 1 / n.
TEST_F(ScoreNoiseTest, NeighbouringNumbersAreNotCorrelated) {
  constexpr std::size_t kKeys = 1 << 20;
  const auto correlation = [](const std::vector<double>& a, const std::vector<double>& b,
                              std::size_t shift) {
    double sum = 0.0;
    for (std::size_t j = 0; j + shift < a.size(); ++j) sum += a[j] * b[j + shift];
    return sum / static_cast<double>(a.size() - shift);
  };
  const auto row = [&](const NoiseRow& at, std::uint64_t seed) {
    return Row(Kind::kGaussian, seed, at, kKeys);
  };
  const NoiseRow at = {.layer = 3, .head = 2, .i = 1 << 21};
  const std::vector<double> x = row(at, seed_);
  for (const std::size_t shift : {1u, 2u, 3u, 4u}) {
    ExpectMean(correlation(x, x, shift), 0.0, 1.0, kKeys);
  }
  NoiseRow layer = at, head = at, query = at;
  layer.layer += 1;
  head.head += 1;
  query.i += 1;
  for (const NoiseRow& other : {layer, head, query}) {
    ExpectMean(correlation(x, row(other, seed_), 0), 0.0, 1.0, kKeys);
  }
  ExpectMean(correlation(x, row(at, seed_ + 1), 0), 0.0, 1.0, kKeys);
}

TEST_F(ScoreNoiseTest, AKeyHasTheSameNumberHoweverManyKeysThereAre) {
  const NoiseRow at = {.layer = 1, .head = 5, .i = 77};
  for (const Kind kind : {Kind::kGaussian, Kind::kUniform}) {
    const std::vector<double> all = Row(kind, seed_, at, 100);
    for (std::size_t n = 0; n < 100; ++n) {
      const std::vector<double> first = Row(kind, seed_, at, n);
      for (std::size_t j = 0; j < n; ++j) ASSERT_EQ(first[j], all[j]);
    }
  }
}

// Seeds above 32 bits, too.
TEST_F(ScoreNoiseTest, EverySeedHasNumbersOfItsOwn) {
  std::set<double> firsts;
  for (int bit = 0; bit < 53; ++bit) {
    firsts.insert(Row(Kind::kUniform, std::uint64_t{1} << bit, {}, 1).front());
  }
  EXPECT_EQ(firsts.size(), 53U);
}

}  // namespace
}  // namespace longrun
