// What the kernels over rows of kernels/cuda have beside the contract of kernels/norm.h,
// activation.h and cross_entropy.h: sums over rows, AdamW, rows that are not aligned, rows far from
// 0, ranges of rows and of keys.
#include "kernels/cuda_rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "kernels/reference/key_bias.h"
#include "kernels/reference/rows.h"
#include "tests/kernels/row_kernels.h"
#include "tests/kernels/rows.h"

namespace longrun {
namespace {

using testing::Bound;
using testing::Draw;
using testing::ExpectClose;
using testing::Guarded;
using testing::SameBits;
using testing::ToDoubles;

class CudaRowsTest : public testing::RowKernelsTest {};

// Sums over rows, and their sizes (tests/kernels/rows.h, ExpectClose).
struct Sums {
  Sums(const std::vector<double>& x, std::int64_t n_channel)
      : value(static_cast<std::size_t>(n_channel)), size(value.size()) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      value[i % value.size()] += x[i];
      size[i % size.size()] += std::abs(x[i]);
    }
  }
  std::vector<double> value, size;
};

template <typename T>
void ExpectColumnSums(const testing::RowKernels& kernels) {
  // 65,700 rows: more than 1,024 ranges of the least number of rows.
  constexpr std::int64_t kShapes[][2] = {{0, 9},   {1, 1},    {3, 8},     {64, 256},
                                         {65, 40}, {300, 11}, {197, 264}, {65700, 3}};
  for (const auto& [n_row, n_channel] : kShapes) {
    SCOPED_TRACE("rows " + std::to_string(n_row) + ", channels " + std::to_string(n_channel));
    const std::vector<T> x = Draw<T>(n_row * n_channel, 1);
    Guarded<float> total(n_channel), again(n_channel);
    for (Guarded<float>* const to : {&total, &again}) {
      kernels.Run(ColumnSumCall{
          .n_row = n_row, .n_channel = n_channel, .x = x.data(), .total = to->data()});
      to->ExpectBandsWhole();
    }
    const Sums expected(ToDoubles(x), n_channel);
    ExpectClose(total.doubles(), expected.value, expected.size, 5e-6, "total");
    EXPECT_TRUE(SameBits(total, again));
  }
}

TEST_P(CudaRowsTest, SumsOverRowsAreTheReferenceForEveryShapeAndType) {
  ExpectColumnSums<float>(*GetParam());
  ExpectColumnSums<Bf16>(*GetParam());
}

// More than 1,024 ranges of the least number of keys.
TEST_P(CudaRowsTest, KeyBiasesOfManyKeysAreTheReference) {
  constexpr std::int64_t kKeys = 262'500;
  const KeyBiasShape shape = {1, 1, kKeys, false};
  const KeyBiasSize size = {.batch = 1, .n_head = 1, .n_key = kKeys};
  const std::vector<float> a = Draw<float>(kKeys, 1);
  const std::vector<double> dr = Draw<double>(kKeys, 2);
  Guarded<double> r(kKeys);
  Guarded<float> da(kKeys);
  GetParam()->Run(KeyBiasForwardCall{.shape = shape, .a = a.data(), .r = r.data()}, 1);
  ExpectClose(r.doubles(), ReferenceKeyBiasForward(size, ToDoubles(a)), 1e-13, "r");
  GetParam()->Run(
      KeyBiasBackwardCall{.shape = shape, .a = a.data(), .dr = dr.data(), .da = da.data()}, 1);
  ExpectClose(da.doubles(), ReferenceKeyBiasBackward(size, ToDoubles(a), dr), 1e-7, "da");
  r.ExpectBandsWhole();
  da.ExpectBandsWhole();
}

TEST_P(CudaRowsTest, KeyBiasesOfNothingTakeNoMemory) {
  for (const KeyBiasShape& shape : {KeyBiasShape{0, 2, 700}, {1, 0, 700}, {1, 2, 0}}) {
    GetParam()->Run(KeyBiasForwardCall{.shape = shape}, 1);
    GetParam()->Run(KeyBiasBackwardCall{.shape = shape}, 1);
  }
}

// ---- AdamW -------------------------------------------------------------------------------------

// The vectors of one optimizer, with the first of its gradients.
struct AdamWVectors {
  explicit AdamWVectors(const std::vector<std::int64_t>& sizes, std::uint64_t stream = 1) {
    for (const std::int64_t n : sizes) {
      std::vector<float> square = Draw<float>(n, stream + 2, 0.1);
      for (float& one : square) one *= one;
      gradient.push_back(Draw<float>(n, stream + 3));
      parameter.emplace_back(Draw<float>(n, stream));
      m.emplace_back(Draw<float>(n, stream + 1, 0.1));
      v.emplace_back(square);
      copy.emplace_back(n);
      stream += 4;
    }
  }
  // Every second one decays, and every third one has no copy. `apart` elements are left out at the
  // beginning of each.
  std::vector<AdamWTensor> Tensors(std::int64_t apart = 0) {
    std::vector<AdamWTensor> tensors;
    for (std::size_t i = 0; i < parameter.size(); ++i) {
      const auto n = static_cast<std::int64_t>(gradient[i].size());
      tensors.push_back({.n = n - apart,
                         .gradient = gradient[i].data() + apart,
                         .parameter = parameter[i].data() + apart,
                         .m = m[i].data() + apart,
                         .v = v[i].data() + apart,
                         .copy = i % 3 == 2 ? nullptr : copy[i].data() + apart,
                         .weight_decay = i % 2 == 0 ? 0.1 : 0.0});
    }
    return tensors;
  }
  std::vector<std::vector<float>> gradient;
  std::vector<Guarded<float>> parameter, m, v;
  std::vector<Guarded<Bf16>> copy;
};

// None, one, tails, more than a block's 4,096 elements.
const std::vector<std::int64_t> kAdamWSizes = {0, 1, 15, 64, 2049, 4096, 4104, 20000};

struct AdamWNumbers {
  float t = 1.0F, lr = 0.01F;
  double clip = 0.37;
  std::vector<double> results = {2.0, 3.0};

  CudaAdamWCall Call(std::span<const AdamWTensor> tensors) const {
    return {.tensors = tensors,
            .beta1 = 0.9,
            .beta2 = 0.95,
            .t = &t,
            .lr = &lr,
            .clip = &clip,
            .results = results.data(),
            .n_result = static_cast<std::int64_t>(results.size())};
  }
};

std::vector<double> Signed(double sign, std::vector<double> x) {
  for (double& one : x) one = sign * std::abs(one);
  return x;
}

TEST_P(CudaRowsTest, ThreeStepsOfAdamWAreTheReferenceAndCopiesAreRounded) {
  AdamWVectors vectors(kAdamWSizes);
  // The same with terms that cannot cancel, since all have one sign: what rounding goes by.
  std::vector<ReferenceAdamWState> expected, size;
  for (std::size_t i = 0; i < kAdamWSizes.size(); ++i) {
    expected.push_back({.parameter = vectors.parameter[i].doubles(),
                        .m = vectors.m[i].doubles(),
                        .v = vectors.v[i].doubles()});
    size.push_back({.parameter = Signed(1.0, expected.back().parameter),
                    .m = Signed(-1.0, expected.back().m),
                    .v = expected.back().v});
  }
  const std::vector<AdamWTensor> tensors = vectors.Tensors();
  for (const std::int64_t t : {1, 2, 3}) {
    for (std::size_t i = 0; i < kAdamWSizes.size(); ++i) {
      std::ranges::copy(Draw<float>(kAdamWSizes[i], 100 * static_cast<std::uint64_t>(t) + i),
                        vectors.gradient[i].begin());
      const AdamWStep step = {.lr = 0.01, .beta1 = 0.9, .beta2 = 0.95, .t = t, .clip = 0.37};
      const std::vector<double> gradient = ToDoubles(vectors.gradient[i]);
      ReferenceAdamWUpdate(step, tensors[i].weight_decay, gradient, expected[i]);
      ReferenceAdamWUpdate(step, tensors[i].weight_decay, Signed(-1.0, gradient), size[i]);
    }
    GetParam()->Run(AdamWNumbers{.t = static_cast<float>(t)}.Call(tensors));
  }
  for (std::size_t i = 0; i < kAdamWSizes.size(); ++i) {
    SCOPED_TRACE(kAdamWSizes[i]);
    // 1 - beta2^t is small at first: the rounding of its fp32 terms is 2^-24 / (1 - beta2).
    ExpectClose(vectors.parameter[i].doubles(), expected[i].parameter, size[i].parameter, 2e-6,
                "theta");
    ExpectClose(vectors.m[i].doubles(), expected[i].m, Signed(1.0, size[i].m), 1e-6, "m");
    ExpectClose(vectors.v[i].doubles(), expected[i].v, 1e-6, "v");
    for (Guarded<float>* of : {&vectors.parameter[i], &vectors.m[i], &vectors.v[i]}) {
      of->ExpectBandsWhole();
    }
    vectors.copy[i].ExpectBandsWhole();
    for (std::int64_t at = 0; tensors[i].copy != nullptr && at < kAdamWSizes[i]; ++at) {
      ASSERT_EQ(tensors[i].copy[at].bits, ToBf16(tensors[i].parameter[at])) << at;
    }
  }
}

// More vectors than a launch has room for.
TEST_P(CudaRowsTest, AdamWTakesAnyNumberOfTensors) {
  const std::vector<std::int64_t> sizes(600, 9);
  AdamWVectors together(sizes), apart(sizes);
  GetParam()->Run(AdamWNumbers().Call(together.Tensors()));
  const std::vector<AdamWTensor> tensors = apart.Tensors();
  for (const std::size_t i : {0u, 1u, 255u, 256u, 257u, 511u, 512u, 599u}) {
    GetParam()->Run(AdamWNumbers().Call(std::span(tensors).subspan(i, 1)));
    EXPECT_TRUE(SameBits(together.parameter[i], apart.parameter[i])) << i;
    EXPECT_TRUE(SameBits(together.v[i], apart.v[i])) << i;
  }
}

TEST_P(CudaRowsTest, AdamWOfArraysThatAreNotAlignedHasTheSameBits) {
  const std::vector<std::int64_t> sizes = {4104, 4105};
  AdamWVectors vectors(sizes), whole({4104 - 3, 4105 - 3});
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const std::size_t n = static_cast<std::size_t>(sizes[i]) - 3;
    std::copy_n(vectors.gradient[i].data() + 3, n, whole.gradient[i].data());
    std::copy_n(vectors.parameter[i].data() + 3, n, whole.parameter[i].data());
    std::copy_n(vectors.m[i].data() + 3, n, whole.m[i].data());
    std::copy_n(vectors.v[i].data() + 3, n, whole.v[i].data());
  }
  GetParam()->Run(AdamWNumbers().Call(vectors.Tensors(3)));
  GetParam()->Run(AdamWNumbers().Call(whole.Tensors()));
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    EXPECT_TRUE(SameBits(vectors.parameter[i].values().subspan(3), whole.parameter[i].values()));
    EXPECT_TRUE(SameBits(vectors.copy[i].values().subspan(3), whole.copy[i].values()));
  }
}

TEST_P(CudaRowsTest, AdamWChangesNothingUnlessAllResultsAreFinite) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const std::vector<std::int64_t> sizes = {40, 41};
  for (const double wrong : {kInfinity, -kInfinity, std::nan("")}) {
    for (const std::size_t at : {0u, 1u}) {
      AdamWVectors vectors(sizes), before(sizes);
      AdamWNumbers numbers;
      numbers.results[at] = wrong;
      GetParam()->Run(numbers.Call(vectors.Tensors()));
      for (std::size_t i = 0; i < sizes.size(); ++i) {
        EXPECT_TRUE(SameBits(vectors.parameter[i], before.parameter[i]));
        EXPECT_TRUE(SameBits(vectors.m[i], before.m[i]) && SameBits(vectors.v[i], before.v[i]));
        EXPECT_TRUE(SameBits(vectors.copy[i], before.copy[i]));
      }
    }
  }
  AdamWVectors vectors(sizes), before(sizes);
  GetParam()->Run(AdamWNumbers().Call(vectors.Tensors()));
  EXPECT_FALSE(SameBits(vectors.parameter[0], before.parameter[0]));
}

TEST_P(CudaRowsTest, AdamWWithoutAClipFactorTakesTheGradientsAsTheyAre) {
  const std::vector<std::int64_t> sizes = {4104};
  AdamWVectors without(sizes), with(sizes);
  const AdamWNumbers one = {.clip = 1.0};
  const std::vector<AdamWTensor> tensors = without.Tensors();
  CudaAdamWCall call = one.Call(tensors);
  call.clip = nullptr;
  call.results = nullptr;
  call.n_result = 0;
  GetParam()->Run(call);
  GetParam()->Run(one.Call(with.Tensors()));
  EXPECT_TRUE(SameBits(without.parameter[0], with.parameter[0]));
  EXPECT_TRUE(SameBits(without.m[0], with.m[0]));
}

// Numbers that only a run that diverges has.
TEST_P(CudaRowsTest, ActivationsAreLinesFarFromZero) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> h = {-1e30F, -1e13F, -1e5F, 1e5F, 1e13F, 1e30F, kNan, 0.0F};
  const std::vector<float> dy(h.size(), 1.0F);
  for (const Activation activation : {Activation::kGeluNew, Activation::kGelu, Activation::kSilu}) {
    const ActivationShape shape = {
        .n_row = 1, .n_channel = static_cast<std::int64_t>(h.size()), .activation = activation};
    Guarded<float> y(shape.n_channel), dh(shape.n_channel);
    ActivationForward({.shape = shape, .h = h.data(), .y = y.data()});
    ActivationBackward({.shape = shape, .h = h.data(), .dy = dy.data(), .dh = dh.data()});
    for (std::size_t i = 0; i < h.size(); ++i) {
      SCOPED_TRACE(h[i]);
      if (i == 6) {
        EXPECT_TRUE(std::isnan(y.values()[i]) && std::isnan(dh.values()[i]));
        continue;
      }
      const float line = h[i] > 0.0F ? 1.0F : h[i] < 0.0F ? 0.0F : 0.5F;
      EXPECT_NEAR(dh.values()[i], line, 1e-6F);
      EXPECT_NEAR(y.values()[i] / std::max(1.0F, std::abs(h[i])), h[i] > 0.0F ? 1.0F : 0.0F, 1e-6F);
    }
  }
}

// The host cannot read it, so the loss must show it.
TEST_P(CudaRowsTest, ATargetOutsideOfTheVocabularyGivesNaN) {
  const std::vector<float> logits = Draw<float>(3 * 40, 1);
  const std::vector<std::int64_t> targets = {40, -1, 39};
  Guarded<float> nll(3), d_logits(3 * 40);
  GetParam()->Run(CrossEntropyCall{.n_row = 3,
                                   .n_vocab = 40,
                                   .logits = logits.data(),
                                   .targets = targets.data(),
                                   .nll = nll.data(),
                                   .d_logits = d_logits.data()},
                  1);
  for (std::size_t row = 0; row < 3; ++row) {
    EXPECT_EQ(std::isnan(nll.values()[row]), row < 2);
    EXPECT_EQ(std::isnan(d_logits.values()[40 * row + 3]), row < 2);
  }
}

// The channels are whole chunks, but the arrays begin beside a multiple of 16 bytes.
TEST_P(CudaRowsTest, ArraysThatAreNotAlignedGiveTheSameNumbers) {
  const NormShape shape = {.n_row = 21, .n_channel = 40};
  constexpr std::int64_t kAll = 21 * 40;
  const std::vector<float> x = Draw<float>(kAll + 1, 1), gamma = Draw<float>(41, 2);
  const std::vector<Bf16> a = Draw<Bf16>(kAll + 1, 3), dy = Draw<Bf16>(kAll + 1, 4);
  Guarded<float> sum(kAll + 1), mean(21), rstd(21), dx(kAll + 1), d_gamma(40), d_beta(40);
  Guarded<Bf16> y(kAll + 1), da(kAll + 1), f(kAll + 1), df(kAll + 1);
  Guarded<float> d_bias(40);
  NormForward({.shape = shape,
               .x = x.data() + 1,
               .addend = a.data() + 1,
               .gamma = gamma.data() + 1,
               .sum = sum.data() + 1,
               .y = y.data() + 1,
               .mean = mean.data(),
               .rstd = rstd.data()});
  NormBackward({.shape = shape,
                .dy = dy.data() + 1,
                .sum = sum.data() + 1,
                .gamma = gamma.data() + 1,
                .mean = mean.data(),
                .rstd = rstd.data(),
                .dx = dx.data() + 1,
                .d_addend = da.data() + 1,
                .d_gamma = d_gamma.data(),
                .d_beta = d_beta.data()});
  const ActivationShape wide = {21, 40, Activation::kGeluNew};
  ActivationForward(
      {.shape = wide, .h = a.data() + 1, .bias = gamma.data() + 1, .y = f.data() + 1});
  ActivationBackward({.shape = wide,
                      .h = a.data() + 1,
                      .bias = gamma.data() + 1,
                      .dy = dy.data() + 1,
                      .dh = df.data() + 1,
                      .d_bias = d_bias.data()});

  const auto rest = [](const auto& all) {
    std::vector<double> doubles = ToDoubles(all);
    doubles.erase(doubles.begin());
    return doubles;
  };
  const ReferenceNorm forward = ReferenceNormForward(shape, rest(x), rest(a), rest(gamma), {});
  const ReferenceNormGradient gradient =
      ReferenceNormBackward(shape, forward.sum, rest(gamma), rest(dy), {});
  const std::vector<double> of_bf16(kAll, 10.0), of_fp32(kAll, 10.0), of_sum(40, 200.0);
  ExpectClose(rest(y.values()), forward.y, of_bf16, Bound(Scalar::kBf16), "y");
  ExpectClose(rest(dx.values()), gradient.x, of_fp32, 5e-6, "dx");
  ExpectClose(rest(da.values()), gradient.x, of_bf16, Bound(Scalar::kBf16), "da");
  ExpectClose(d_gamma.doubles(), gradient.gamma, of_sum, 5e-6, "dgamma");
  ExpectClose(d_beta.doubles(), gradient.beta, of_sum, 5e-6, "dbeta");
  const ReferenceActivationGradient slope =
      ReferenceActivationBackward(wide, rest(a), rest(gamma), rest(dy));
  ExpectClose(rest(f.values()), ReferenceActivationForward(wide, rest(a), rest(gamma)), of_bf16,
              Bound(Scalar::kBf16), "f");
  ExpectClose(rest(df.values()), slope.h, of_bf16, Bound(Scalar::kBf16), "df");
  ExpectClose(d_bias.doubles(), slope.bias, of_sum, 5e-6, "db");
  for (Guarded<Bf16>* const one : {&y, &da, &f, &df}) one->ExpectBandsWhole();
  for (Guarded<float>* const one : {&sum, &mean, &rstd, &dx, &d_gamma, &d_beta, &d_bias}) {
    one->ExpectBandsWhole();
  }
}

// A row of 10,000 and multiples of 2^-10, which are exact in fp32; its mean is not, and is rounded
// by as much as the numbers deviate from it. The results do not show it.
TEST_P(CudaRowsTest, ARowFarFromZeroIsNormalisedExactly) {
  for (const std::int64_t n_channel : {50, 768, 1000, 2048, 5000}) {
    const NormShape shape = {.n_row = 3, .n_channel = n_channel, .epsilon = 1e-12};
    std::vector<float> x;
    for (std::int64_t i = 0; i < 3 * n_channel; ++i) {
      x.push_back(10000.0F + static_cast<float>((i * i) % 7) * 0x1p-10F);
    }
    const std::vector<float> ones(static_cast<std::size_t>(n_channel), 1.0F);
    Guarded<float> y(3 * n_channel), mean(3), rstd(3);
    NormForward({.shape = shape,
                 .x = x.data(),
                 .gamma = ones.data(),
                 .y = y.data(),
                 .mean = mean.data(),
                 .rstd = rstd.data()});
    const ReferenceNorm expected =
        ReferenceNormForward(shape, ToDoubles(x), {}, ToDoubles(ones), {});
    ExpectClose(rstd.doubles(), expected.rstd, 1e-5, "rstd");
    ExpectClose(y.doubles(), expected.y, std::vector<double>(expected.y.size(), 3.0), 1e-5, "y");
  }
}

// More rows than 1,024 ranges of 16, so that a range has more rows.
TEST_P(CudaRowsTest, ManyRowsAreAddedInRangesOfMore) {
  constexpr std::int64_t kRows = 17000, kChannels = 8;
  const NormShape shape = {.n_row = kRows, .n_channel = kChannels, .centred = false};
  const std::vector<float> x = Draw<float>(kRows * kChannels, 1);
  const std::vector<Bf16> dy = Draw<Bf16>(kRows * kChannels, 2);
  const std::vector<float> gamma = Draw<float>(kChannels, 3);
  Guarded<float> y(kRows * kChannels), rstd(kRows), dx(kRows * kChannels), d_gamma(kChannels);
  NormForward(
      {.shape = shape, .x = x.data(), .gamma = gamma.data(), .y = y.data(), .rstd = rstd.data()});
  NormBackward({.shape = shape,
                .dy = dy.data(),
                .sum = x.data(),
                .gamma = gamma.data(),
                .rstd = rstd.data(),
                .dx = dx.data(),
                .d_gamma = d_gamma.data()});
  const ReferenceNormGradient expected =
      ReferenceNormBackward(shape, ToDoubles(x), ToDoubles(gamma), ToDoubles(dy), {});
  // The sum of 17,000 sizes of about 1.
  ExpectClose(d_gamma.doubles(), expected.gamma, std::vector<double>(kChannels, kRows), 5e-6,
              "dgamma");
}

TEST_P(CudaRowsTest, TheSameCallGivesTheSameBitsEachTime) {
  const NormShape shape = {.n_row = 100, .n_channel = 768};
  constexpr std::int64_t kAll = 100 * 768;
  const std::vector<float> x = Draw<float>(kAll, 1), gamma = Draw<float>(768, 2);
  const std::vector<float> mean(100, 0.0F), rstd(100, 1.0F);
  const std::vector<Bf16> dy = Draw<Bf16>(kAll, 3), h = Draw<Bf16>(kAll, 4);
  struct Results {
    Guarded<float> dx = Guarded<float>(kAll), d_gamma = Guarded<float>(768);
    Guarded<float> d_beta = Guarded<float>(768), d_bias = Guarded<float>(768);
    Guarded<Bf16> dh = Guarded<Bf16>(kAll);
  };
  const auto run = [&](Results& to) {
    NormBackward({.shape = shape,
                  .dy = dy.data(),
                  .sum = x.data(),
                  .gamma = gamma.data(),
                  .mean = mean.data(),
                  .rstd = rstd.data(),
                  .dx = to.dx.data(),
                  .d_gamma = to.d_gamma.data(),
                  .d_beta = to.d_beta.data()});
    ActivationBackward({.shape = {100, 768, Activation::kGeluNew},
                        .h = h.data(),
                        .bias = gamma.data(),
                        .dy = dy.data(),
                        .dh = to.dh.data(),
                        .d_bias = to.d_bias.data()});
  };
  Results first;
  run(first);
  for (int repetition = 0; repetition < 20; ++repetition) {
    Results again;
    run(again);
    EXPECT_TRUE(SameBits(first.dx, again.dx) && SameBits(first.dh, again.dh));
    EXPECT_TRUE(SameBits(first.d_gamma, again.d_gamma) && SameBits(first.d_beta, again.d_beta));
    EXPECT_TRUE(SameBits(first.d_bias, again.d_bias));
  }
}

LONGRUN_FOR_EVERY_ROW_KERNEL(CudaRowsTest);

}  // namespace
}  // namespace longrun
