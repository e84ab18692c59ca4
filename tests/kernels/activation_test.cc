// Activations beside the reference, and the reference beside central differences.
#include "kernels/activation.h"

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
using testing::ExpectNear;
using testing::Guarded;
using testing::kScalarOf;
using testing::SameBits;
using testing::ToDoubles;

constexpr Activation kAll[] = {Activation::kGeluNew, Activation::kGelu, Activation::kSilu};
// On a GPU, a warp has 256 channels, and a block 64 rows.
constexpr std::int64_t kShapes[][2] = {{0, 3},    {1, 1},    {3, 5},    {2, 16},  {64, 33},
                                       {131, 50}, {131, 64}, {65, 256}, {7, 264}, {129, 257}};

// Numbers of order 1 that a function's value, or its slope, is made of: far out on the left it is
// next to nothing, by an exponential whose exponent is rounded.
std::vector<double> OneAnd(std::vector<double> x) {
  for (double& one : x) one = 1.0 + std::abs(one);
  return x;
}
std::vector<double> Times(std::vector<double> x, const std::vector<double>& y) {
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::abs(x[i] * y[i]);
  return x;
}

class ActivationTest : public testing::RowKernelsTest {
 protected:
  template <typename T>
  void ExpectTheReference() {
    constexpr bool kHasGradients = !std::is_same_v<T, Fp16>;
    for (const Activation activation : kAll) {
      for (const auto& [n_row, n_channel] : kShapes) {
        for (const bool biased : {false, true}) {
          const ActivationShape shape = {n_row, n_channel, activation};
          const std::vector<T> h = Draw<T>(n_row * n_channel, 1, 3.0);
          const std::vector<T> dy = Draw<T>(n_row * n_channel, 2);
          const std::vector<float> bias = Draw<float>(n_channel, 3);
          const float* const b = biased ? bias.data() : nullptr;
          const auto doubles = biased ? ToDoubles(bias) : std::vector<double>();
          Guarded<T> y(n_row * n_channel), dh(n_row * n_channel);
          Guarded<float> d_bias(n_channel);
          ActivationForward({.shape = shape, .h = h.data(), .bias = b, .y = y.data()});
          const std::vector<double> value =
              ReferenceActivationForward(shape, ToDoubles(h), doubles);
          ExpectClose(y.doubles(), value, OneAnd(value), Bound(kScalarOf<T>), "y");
          y.ExpectBandsWhole();
          if constexpr (!kHasGradients) continue;
          ActivationBackward({.shape = shape,
                              .h = h.data(),
                              .bias = b,
                              .dy = dy.data(),
                              .dh = dh.data(),
                              .d_bias = d_bias.data()});
          const ReferenceActivationGradient expected =
              ReferenceActivationBackward(shape, ToDoubles(h), doubles, ToDoubles(dy));
          const std::vector<double> given = ToDoubles(dy);
          const std::vector<double> dh_size = Times(given, std::vector<double>(given.size(), 2.0));
          std::vector<double> db_size(bias.size());
          for (std::size_t i = 0; i < dh_size.size(); ++i) db_size[i % bias.size()] += dh_size[i];
          ExpectClose(dh.doubles(), expected.h, dh_size, Bound(kScalarOf<T>), "dh");
          // Sums of fp32, in either type.
          ExpectClose(d_bias.doubles(), expected.bias, db_size, 5e-6, "db");
          dh.ExpectBandsWhole();
          d_bias.ExpectBandsWhole();
        }
      }
    }
  }

  template <typename T>
  void ExpectTheReferenceGated() {
    constexpr bool kHasGradients = !std::is_same_v<T, Fp16>;
    for (const Activation activation : kAll) {
      for (const auto& [n_row, n_channel] : kShapes) {
        const ActivationShape shape = {n_row, n_channel, activation};
        const std::int64_t n = n_row * n_channel;
        const std::vector<T> gate = Draw<T>(n, 1, 3.0), up = Draw<T>(n, 2), dy = Draw<T>(n, 3);
        Guarded<T> y(n), d_gate(n), d_up(n);
        GatedForward({.shape = shape, .gate = gate.data(), .up = up.data(), .y = y.data()});
        std::vector<double> value;
        for (const double x : ToDoubles(gate)) value.push_back(ReferenceActivation(activation, x));
        ExpectClose(y.doubles(), ReferenceGatedForward(shape, ToDoubles(gate), ToDoubles(up)),
                    Times(ToDoubles(up), OneAnd(value)), Bound(kScalarOf<T>), "y");
        y.ExpectBandsWhole();
        if constexpr (!kHasGradients) continue;
        GatedBackward({.shape = shape,
                       .gate = gate.data(),
                       .up = up.data(),
                       .dy = dy.data(),
                       .d_gate = d_gate.data(),
                       .d_up = d_up.data()});
        const ReferenceGatedGradient expected =
            ReferenceGatedBackward(shape, ToDoubles(gate), ToDoubles(up), ToDoubles(dy));
        const std::vector<double> slopes(value.size(), 2.0);
        ExpectClose(d_gate.doubles(), expected.gate,
                    Times(ToDoubles(dy), Times(ToDoubles(up), slopes)), Bound(kScalarOf<T>), "dg");
        ExpectClose(d_up.doubles(), expected.up, Times(ToDoubles(dy), OneAnd(value)),
                    Bound(kScalarOf<T>), "du");
        d_gate.ExpectBandsWhole();
        d_up.ExpectBandsWhole();
      }
    }
  }
};

TEST_P(ActivationTest, Fp32IsTheReferenceForEveryShape) { ExpectTheReference<float>(); }
TEST_P(ActivationTest, Bf16IsTheReferenceForEveryShape) { ExpectTheReference<Bf16>(); }
TEST_P(ActivationTest, Fp16IsTheReferenceForEveryShape) { ExpectTheReference<Fp16>(); }
TEST_P(ActivationTest, GatedFp32IsTheReferenceForEveryShape) { ExpectTheReferenceGated<float>(); }
TEST_P(ActivationTest, GatedBf16IsTheReferenceForEveryShape) { ExpectTheReferenceGated<Bf16>(); }
TEST_P(ActivationTest, GatedFp16IsTheReferenceForEveryShape) { ExpectTheReferenceGated<Fp16>(); }

// Far from 0, where an exponential overflows, and where a value is a difference of two near ones.
TEST_P(ActivationTest, EveryArgumentHasItsValueAndSlope) {
  std::vector<float> x;
  for (int i = -400; i <= 400; ++i) x.push_back(0.05F * static_cast<float>(i));
  for (const float far : {1e-30F, 40.0F, 100.0F, 1e4F, 1e10F}) x.insert(x.end(), {far, -far});
  const auto n = static_cast<std::int64_t>(x.size());
  const std::vector<float> ones(x.size(), 1.0F);
  for (const Activation activation : kAll) {
    const ActivationShape shape = {1, n, activation};
    Guarded<float> y(n), dh(n);
    ActivationForward({.shape = shape, .h = x.data(), .y = y.data()});
    ActivationBackward({.shape = shape, .h = x.data(), .dy = ones.data(), .dh = dh.data()});
    for (std::size_t i = 0; i < x.size(); ++i) {
      const auto at = static_cast<double>(x[i]);
      const double value = ReferenceActivation(activation, at);
      const double slope =
          std::abs(at) < 100.0 ? ReferenceActivationSlope(activation, at) : (at > 0.0 ? 1.0 : 0.0);
      EXPECT_NEAR(static_cast<double>(y.values()[i]), value, 5e-7 * (1.0 + std::abs(value))) << at;
      EXPECT_NEAR(static_cast<double>(dh.values()[i]), slope, 2e-6) << at;
    }
  }
}

TEST_P(ActivationTest, ANaNStaysOne) {
  const std::vector<float> x(21, std::numeric_limits<float>::quiet_NaN());
  for (const Activation activation : kAll) {
    Guarded<float> y(std::vector<float>(21, 0.0F));
    ActivationForward({.shape = {3, 7, activation}, .h = x.data(), .y = y.data()});
    for (const float one : y.values()) EXPECT_TRUE(std::isnan(one));
  }
}

TEST_P(ActivationTest, BitsDependOnNeitherThreadsNorOtherRowsNorOverwriting) {
  const ActivationShape shape = {150, 21, Activation::kGelu};
  const std::vector<float> h = Draw<float>(150 * 21, 1), dy = Draw<float>(150 * 21, 2);
  const std::vector<float> bias = Draw<float>(21, 3);
  Guarded<float> y(150 * 21), row(21), in_place(h), dh(150 * 21), dh_in_place(dy);
  Guarded<float> d_bias(21), d_bias_3(21);
  ActivationForward({.shape = shape, .h = h.data(), .bias = bias.data(), .y = y.data()});
  ActivationForward(
      {.shape = shape, .h = in_place.data(), .bias = bias.data(), .y = in_place.data()}, 3);
  ActivationForward({.shape = {1, 21, Activation::kGelu},
                     .h = h.data() + 99 * 21,
                     .bias = bias.data(),
                     .y = row.data()});
  EXPECT_TRUE(SameBits(y, in_place));
  EXPECT_TRUE(SameBits(row.values(), y.values().subspan(99 * 21, 21)));
  const auto backward = [&](const float* given, float* to, float* sums, int n_threads) {
    ActivationBackward(
        {.shape = shape, .h = h.data(), .bias = bias.data(), .dy = given, .dh = to, .d_bias = sums},
        n_threads);
  };
  backward(dy.data(), dh.data(), d_bias.data(), 1);
  backward(dh_in_place.data(), dh_in_place.data(), d_bias_3.data(), 3);
  EXPECT_TRUE(SameBits(dh, dh_in_place) && SameBits(d_bias, d_bias_3));
}

LONGRUN_FOR_EVERY_ROW_KERNEL(ActivationTest);

TEST(ReferenceActivationTest, SlopesMatchCentralDifferences) {
  constexpr double kStep = 1e-5;
  for (const Activation activation : kAll) {
    for (const double x : {-3.0, -0.7, 0.0, 0.4, 2.5}) {
      const double difference = (ReferenceActivation(activation, x + kStep) -
                                 ReferenceActivation(activation, x - kStep)) /
                                (2 * kStep);
      EXPECT_NEAR(ReferenceActivationSlope(activation, x), difference, 1e-9);
    }
  }
}

TEST(ReferenceActivationTest, GatedGradientsMatchCentralDifferences) {
  const ActivationShape shape = {2, 3, Activation::kSilu};
  std::vector<double> gate = Draw<double>(6, 1), up = Draw<double>(6, 2);
  const std::vector<double> dy = Draw<double>(6, 3);
  const auto loss = [&] {
    const std::vector<double> y = ReferenceGatedForward(shape, gate, up);
    double sum = 0.0;
    for (std::size_t i = 0; i < dy.size(); ++i) sum += dy[i] * y[i];
    return sum;
  };
  const ReferenceGatedGradient gradient = ReferenceGatedBackward(shape, gate, up, dy);
  ExpectNear(gradient.gate, testing::CentralDifferences(gate, loss), 1e-8);
  ExpectNear(gradient.up, testing::CentralDifferences(up, loss), 1e-8);
}

TEST(FindActivationTest, NamesAreThoseOfTransformers) {
  EXPECT_EQ(FindActivation("gelu_new"), Activation::kGeluNew);
  EXPECT_EQ(FindActivation("gelu"), Activation::kGelu);
  EXPECT_EQ(FindActivation("silu"), Activation::kSilu);
  EXPECT_EQ(FindActivation("relu"), std::nullopt);
}

}  // namespace
}  // namespace longrun
