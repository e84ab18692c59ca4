// Cross-entropy beside the reference, and the reference beside central differences.
#include "kernels/cross_entropy.h"

#include <gtest/gtest.h>

#include "kernels/reference/rows.h"
#include "tests/kernels/fixture.h"
#include "tests/kernels/row_kernels.h"
#include "tests/kernels/rows.h"

namespace longrun {
namespace {

using testing::Bound;
using testing::Draw;
using testing::ExpectClose;
using testing::Guarded;
using testing::kScalarOf;
using testing::SameBits;
using testing::ToDoubles;

constexpr std::int64_t kShapes[][2] = {{0, 4},  {1, 1},   {3, 2},    {5, 13},
                                       {4, 32}, {9, 257}, {2, 5003}, {3, 8200}};
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The first, the last, some between; each third is ignored.
std::vector<std::int64_t> Targets(std::int64_t n_row, std::int64_t n_vocab) {
  std::vector<std::int64_t> targets;
  for (std::int64_t row = 0; row < n_row; ++row) {
    targets.push_back(row % 3 == 2 ? kIgnoredTarget : (row * (n_vocab - 1)) % n_vocab);
  }
  return targets;
}

class CrossEntropyTest : public testing::RowKernelsTest {
 protected:
  template <typename T>
  void ExpectTheReference(double deviation) {
    for (const auto& [n_row, n_vocab] : kShapes) {
      const std::vector<T> logits = Draw<T>(n_row * n_vocab, 1, deviation);
      const std::vector<std::int64_t> targets = Targets(n_row, n_vocab);
      const double weight = 0.125;
      Guarded<T> in_place(logits), apart(n_row * n_vocab);
      Guarded<float> nll(n_row), lse(n_row), nll_alone(n_row);
      CrossEntropyCall call = {.n_row = n_row,
                               .n_vocab = n_vocab,
                               .logits = logits.data(),
                               .targets = targets.data(),
                               .nll = nll_alone.data()};
      CrossEntropy(call);
      call.d_logits = apart.data();
      call.weight = weight;
      CrossEntropy(call);
      call.logits = in_place.data();
      call.d_logits = in_place.data();
      call.nll = nll.data();
      call.lse = lse.data();
      CrossEntropy(call);

      const ReferenceLoss expected =
          ReferenceCrossEntropy(n_vocab, ToDoubles(logits), targets, weight);
      // Of a likely target -log p is the logarithm of about 1,
      // and p - 1 a difference of about nothing.
      std::vector<double> nll_size = expected.nll, dz_size = expected.d_logits;
      for (std::size_t row = 0; row < targets.size(); ++row) {
        if (targets[row] == kIgnoredTarget) continue;
        nll_size[row] += 1.0;
        double& at_target = dz_size[row * static_cast<std::size_t>(n_vocab) +
                                    static_cast<std::size_t>(targets[row])];
        at_target += 2.0 * weight;  // p + 1
      }
      ExpectClose(nll.doubles(), expected.nll, nll_size, 2e-6, "nll");
      for (std::size_t row = 0; row < targets.size(); ++row) {
        const double bound = 2e-6 * std::max(1.0, std::abs(expected.lse[row]));
        EXPECT_NEAR(static_cast<double>(lse.values()[row]), expected.lse[row], bound);
      }
      ExpectClose(in_place.doubles(), expected.d_logits, dz_size, Bound(kScalarOf<T>), "dz");
      EXPECT_TRUE(SameBits(in_place, apart) && SameBits(nll, nll_alone));
      in_place.ExpectBandsWhole();
      apart.ExpectBandsWhole();
      nll.ExpectBandsWhole();
      lse.ExpectBandsWhole();
    }
  }
};

TEST_P(CrossEntropyTest, Fp32IsTheReferenceForEveryShape) { ExpectTheReference<float>(3.0); }
TEST_P(CrossEntropyTest, Bf16IsTheReferenceForEveryShape) { ExpectTheReference<Bf16>(3.0); }
TEST_P(CrossEntropyTest, Fp16IsTheReferenceForEveryShape) { ExpectTheReference<Fp16>(3.0); }
TEST_P(CrossEntropyTest, HugeLogitsStayFinite) { ExpectTheReference<float>(1e4); }

TEST_P(CrossEntropyTest, EqualLogitsHaveTheLogarithmOfTheirNumber) {
  const std::vector<float> logits(1000, -5.0F);
  const std::int64_t target = 999;
  float nll = -1.0F;
  Guarded<float> dz(1000);
  CrossEntropy({.n_row = 1,
                .n_vocab = 1000,
                .logits = logits.data(),
                .targets = &target,
                .nll = &nll,
                .d_logits = dz.data()});
  EXPECT_NEAR(static_cast<double>(nll), std::log(1000.0), 1e-6);
  for (std::size_t v = 0; v < 999; ++v)
    EXPECT_NEAR(static_cast<double>(dz.values()[v]), 1e-3, 1e-9);
  EXPECT_NEAR(static_cast<double>(dz.values()[999]), -0.999, 1e-6);
}

// The last digit of fp32 beside 4,096 is 0.0005, a hundredth of this loss.
TEST_P(CrossEntropyTest, ASmallLossBesideHugeLogitsIsExact) {
  const std::vector<float> logits = {4096.0F, 4093.0F};
  const std::int64_t target = 0;
  float nll = -1.0F;
  CrossEntropy(
      {.n_row = 1, .n_vocab = 2, .logits = logits.data(), .targets = &target, .nll = &nll});
  EXPECT_NEAR(static_cast<double>(nll), std::log1p(std::exp(-3.0)), 1e-7);
}

// Chains of some hundred thousand additions would lose more digits than this.
TEST_P(CrossEntropyTest, ALargeVocabularyIsSummedAsExactlyAsASmallOne) {
  constexpr std::int64_t kVocab = 300'000;
  const std::vector<float> logits = Draw<float>(kVocab, 4);
  const std::int64_t target = 5;
  float nll = -1.0F, lse = -1.0F;
  Guarded<float> dz(kVocab);
  CrossEntropy({.n_row = 1,
                .n_vocab = kVocab,
                .logits = logits.data(),
                .targets = &target,
                .nll = &nll,
                .lse = &lse,
                .d_logits = dz.data()});
  const std::vector<std::int64_t> targets = {target};
  const ReferenceLoss expected = ReferenceCrossEntropy(kVocab, ToDoubles(logits), targets, 1.0);
  // The sum of the exponentials is in every element.
  double error = 0.0, size = 0.0;
  for (std::size_t v = 0; v < logits.size(); ++v) {
    if (v == static_cast<std::size_t>(target)) continue;
    error += std::pow(static_cast<double>(dz.values()[v]) - expected.d_logits[v], 2);
    size += std::pow(expected.d_logits[v], 2);
  }
  EXPECT_LE(std::sqrt(error / size), 3e-7);
}

TEST_P(CrossEntropyTest, AHiddenWordHasNoProbabilityAndANaNIsSeen) {
  std::vector<float> logits = Draw<float>(3 * 21, 1);
  logits[4] = static_cast<float>(-kInfinity);
  logits[21 + 20] = std::numeric_limits<float>::quiet_NaN();
  logits[42] = static_cast<float>(kInfinity);
  const std::vector<std::int64_t> targets = {1, 1, 1};
  Guarded<float> dz(3 * 21), nll(3);
  CrossEntropy({.n_row = 3,
                .n_vocab = 21,
                .logits = logits.data(),
                .targets = targets.data(),
                .nll = nll.data(),
                .d_logits = dz.data()});
  EXPECT_TRUE(std::isfinite(nll.values()[0]));
  EXPECT_EQ(dz.values()[4], 0.0F);
  EXPECT_TRUE(std::isnan(nll.values()[1]));
  EXPECT_TRUE(std::isnan(dz.values()[21]));
  EXPECT_FALSE(std::isfinite(nll.values()[2]));
}

// More than a thread reads at once of which no word is possible, then words far below 0.
TEST_P(CrossEntropyTest, HiddenWordsMayComeFirstAndAllLogitsMayBeNegative) {
  constexpr std::int64_t kVocab = 3000, kHiddenWords = 2500;
  std::vector<float> logits = Draw<float>(kVocab, 2, 30.0);
  for (std::size_t v = 0; v < kVocab; ++v) {
    logits[v] = v < kHiddenWords ? static_cast<float>(-kInfinity) : logits[v] - 500.0F;
  }
  const std::vector<std::int64_t> targets = {kVocab - 1};
  Guarded<float> dz(kVocab), nll(1), lse(1);
  CrossEntropy({.n_row = 1,
                .n_vocab = kVocab,
                .logits = logits.data(),
                .targets = targets.data(),
                .nll = nll.data(),
                .lse = lse.data(),
                .d_logits = dz.data()});
  const ReferenceLoss expected = ReferenceCrossEntropy(kVocab, ToDoubles(logits), targets, 1.0);
  EXPECT_NEAR(nll.doubles()[0], expected.nll[0], 1e-3);
  EXPECT_NEAR(lse.doubles()[0], expected.lse[0], 1e-3);
  testing::ExpectNear(dz.doubles(), expected.d_logits, 1e-5);
}

TEST_P(CrossEntropyTest, BitsDependOnNeitherThreadsNorOtherRows) {
  const std::vector<float> logits = Draw<float>(50 * 300, 1);
  const std::vector<std::int64_t> targets = Targets(50, 300);
  Guarded<float> dz(50 * 300), dz_3(50 * 300), dz_row(300), nll(50), nll_3(50), nll_row(1);
  const auto run = [&](std::int64_t row, std::int64_t n_row, Guarded<float>& d, Guarded<float>& to,
                       int n_threads) {
    CrossEntropy({.n_row = n_row,
                  .n_vocab = 300,
                  .logits = logits.data() + row * 300,
                  .targets = targets.data() + row,
                  .nll = to.data(),
                  .d_logits = d.data()},
                 n_threads);
  };
  run(0, 50, dz, nll, 1);
  run(0, 50, dz_3, nll_3, 3);
  run(31, 1, dz_row, nll_row, 1);
  EXPECT_TRUE(SameBits(dz, dz_3) && SameBits(nll, nll_3));
  EXPECT_TRUE(SameBits(dz_row.values(), dz.values().subspan(31 * 300, 300)));
}

LONGRUN_FOR_EVERY_ROW_KERNEL(CrossEntropyTest);

TEST(ReferenceCrossEntropyTest, TheGradientMatchesCentralDifferences) {
  std::vector<double> logits = Draw<double>(15, 1);
  const std::vector<std::int64_t> targets = {4, kIgnoredTarget, 0};
  const auto loss = [&] {
    double sum = 0.0;
    for (const double nll : ReferenceCrossEntropy(5, logits, targets, 1.0).nll) sum += 0.5 * nll;
    return sum;
  };
  testing::ExpectNear(ReferenceCrossEntropy(5, logits, targets, 0.5).d_logits,
                      testing::CentralDifferences(logits, loss), 1e-9);
}

}  // namespace
}  // namespace longrun
