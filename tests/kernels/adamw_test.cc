// AdamW and the global norm beside the reference.
#include "kernels/adamw.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>

#include "kernels/reference/rows.h"
#include "tests/kernels/fixture.h"
#include "tests/kernels/rows.h"

namespace longrun {
namespace {

using testing::Draw;
using testing::ExpectClose;
using testing::Guarded;
using testing::SameBits;
using testing::ToDoubles;

// Elements: none, one, tails, more than the pieces that are worked on as a whole.
constexpr std::int64_t kSizes[] = {0, 1, 15, 64, 2049, 40000};

struct State {
  explicit State(std::int64_t n)
      : parameter(Draw<float>(n, 1)), m(Draw<float>(n, 2, 0.1)), v(Positive(n)) {}
  static std::vector<float> Positive(std::int64_t n) {
    std::vector<float> v = Draw<float>(n, 3, 0.1);
    for (float& one : v) one *= one;
    return v;
  }
  Guarded<float> parameter, m, v;
};

std::vector<double> Signed(double sign, std::vector<double> x) {
  for (double& one : x) one = sign * std::abs(one);
  return x;
}

class AdamWKernelTest : public testing::SimdTest {};

TEST_P(AdamWKernelTest, ThreeStepsOverManyTensorsAreTheReference) {
  std::vector<State> states;
  // The same with terms that cannot cancel, since all have one sign: what rounding goes by.
  std::vector<ReferenceAdamWState> expected, size;
  for (const std::int64_t n : kSizes) {
    states.emplace_back(n);
    expected.push_back({.parameter = states.back().parameter.doubles(),
                        .m = states.back().m.doubles(),
                        .v = states.back().v.doubles()});
    size.push_back({.parameter = Signed(1.0, expected.back().parameter),
                    .m = Signed(-1.0, expected.back().m),
                    .v = expected.back().v});
  }
  for (std::int64_t t = 1; t <= 3; ++t) {
    const AdamWStep step = {.lr = 0.01, .beta1 = 0.9, .beta2 = 0.95, .t = t, .clip = 0.37};
    std::vector<std::vector<float>> gradients;
    std::vector<AdamWTensor> tensors;
    for (std::size_t i = 0; i < states.size(); ++i) {
      gradients.push_back(Draw<float>(kSizes[i], 10 * static_cast<std::uint64_t>(t) + i));
      const double weight_decay = i % 2 == 0 ? 0.1 : 0.0;
      tensors.push_back({.n = kSizes[i],
                         .gradient = gradients.back().data(),
                         .parameter = states[i].parameter.data(),
                         .m = states[i].m.data(),
                         .v = states[i].v.data(),
                         .weight_decay = weight_decay});
      const std::vector<double> gradient = ToDoubles(gradients.back());
      ReferenceAdamWUpdate(step, weight_decay, gradient, expected[i]);
      ReferenceAdamWUpdate(step, weight_decay, Signed(-1.0, gradient), size[i]);
    }
    AdamWUpdate(tensors, step, options());
  }
  for (std::size_t i = 0; i < states.size(); ++i) {
    ExpectClose(states[i].parameter.doubles(), expected[i].parameter, size[i].parameter, 1e-6,
                "theta");
    ExpectClose(states[i].m.doubles(), expected[i].m, Signed(1.0, size[i].m), 1e-6, "m");
    ExpectClose(states[i].v.doubles(), expected[i].v, 1e-6, "v");
    states[i].parameter.ExpectBandsWhole();
    states[i].m.ExpectBandsWhole();
    states[i].v.ExpectBandsWhole();
  }
}

// Numbers between two of bf16, ties among them, and subnormal ones, which a copy keeps.
TEST_P(AdamWKernelTest, TheCopyOfAParameterIsItsRoundedResult) {
  for (const std::int64_t n : kSizes) {
    State with(n), without(n);
    Guarded<Bf16> copy(n);
    for (std::int64_t i = 0; i < n; ++i) {
      const auto bits = static_cast<std::uint32_t>(0x3f800000 + 0x4000 * i);
      with.parameter.data()[i] = i % 3 == 0   ? std::bit_cast<float>(bits)
                                 : i % 3 == 1 ? 1e-39F * static_cast<float>(i)
                                              : with.parameter.data()[i];
      without.parameter.data()[i] = with.parameter.data()[i];
    }
    // Zero, so that the ties stay ties.
    const std::vector<float> nothing(static_cast<std::size_t>(n), 0.0F);
    const std::vector<float> gradient = Draw<float>(n, 9);
    for (const bool moves : {false, true}) {
      const std::vector<float>& of_step = moves ? gradient : nothing;
      const auto update = [&](State& state, Bf16* to) {
        if (!moves) std::fill_n(state.m.data(), n, 0.0F);
        const AdamWTensor tensors[] = {{.n = n,
                                        .gradient = of_step.data(),
                                        .parameter = state.parameter.data(),
                                        .m = state.m.data(),
                                        .v = state.v.data(),
                                        .copy = to}};
        AdamWUpdate(tensors, {.lr = 0.01}, options(3));
      };
      update(with, copy.data());
      update(without, nullptr);
      EXPECT_TRUE(SameBits(with.parameter, without.parameter));
      for (std::int64_t i = 0; i < n; ++i) {
        ASSERT_EQ(copy.data()[i].bits, ToBf16(with.parameter.data()[i])) << i << " of " << n;
      }
      copy.ExpectBandsWhole();
    }
  }
}

TEST_P(AdamWKernelTest, BitsDependOnNeitherThreadsNorNeighbours) {
  constexpr std::int64_t kN = 40000, kFrom = 16384 + 5, kShort = 33;
  State whole(kN), shared(kN), part(kN);
  const std::vector<float> gradient = Draw<float>(kN, 9);
  const auto tensor = [&](State& state, std::int64_t begin, std::int64_t n) -> AdamWTensor {
    return {.n = n,
            .gradient = gradient.data() + begin,
            .parameter = state.parameter.data() + begin,
            .m = state.m.data() + begin,
            .v = state.v.data() + begin,
            .weight_decay = 0.1};
  };
  const AdamWStep step = {.lr = 0.01};
  const AdamWTensor all[] = {tensor(whole, 0, kN)}, again[] = {tensor(shared, 0, kN)};
  const AdamWTensor some[] = {tensor(part, kFrom, kShort)};
  AdamWUpdate(all, step, options());
  AdamWUpdate(again, step, options(3));
  AdamWUpdate(some, step, options());
  EXPECT_TRUE(SameBits(whole.parameter, shared.parameter) && SameBits(whole.v, shared.v));
  EXPECT_TRUE(SameBits(whole.parameter.values().subspan(kFrom, kShort),
                       part.parameter.values().subspan(kFrom, kShort)));
}

TEST_P(AdamWKernelTest, TheGlobalNormIsTheReferenceOverAllTensorsAndThreads) {
  std::vector<std::vector<float>> gradients;
  std::vector<double> all;
  for (const std::int64_t n : kSizes) {
    gradients.push_back(Draw<float>(n, static_cast<std::uint64_t>(n)));
    const std::vector<double> doubles = ToDoubles(gradients.back());
    all.insert(all.end(), doubles.begin(), doubles.end());
  }
  std::vector<ConstVector> views;
  for (const std::vector<float>& gradient : gradients) {
    views.push_back({gradient.data(), static_cast<std::int64_t>(gradient.size())});
  }
  const double expected = ReferenceGlobalNorm(all);
  const double found = GlobalNorm(views, options());
  EXPECT_NEAR(found, expected, 1e-6 * expected);
  EXPECT_EQ(found, GlobalNorm(views, options(3)));
  EXPECT_EQ(GlobalNorm({}, options()), 0.0);
}

TEST_P(AdamWKernelTest, ANaNIsSeenInTheNorm) {
  std::vector<float> gradient(5000, 1.0F);
  gradient[4999] = std::numeric_limits<float>::quiet_NaN();
  const ConstVector views[] = {{gradient.data(), 5000}};
  EXPECT_TRUE(std::isnan(GlobalNorm(views, options())));
}

LONGRUN_FOR_EVERY_SIMD(AdamWKernelTest);

// The first step of AdamW goes by lr against the gradient's sign, whatever its size.
TEST(ReferenceAdamWTest, TheFirstStepIsTheLearningRate) {
  ReferenceAdamWState state = {.parameter = {1.0, 1.0}, .m = {0.0, 0.0}, .v = {0.0, 0.0}};
  ReferenceAdamWUpdate({.lr = 0.1, .eps = 0.0}, 0.5, std::vector<double>{1e-3, -7.0}, state);
  testing::ExpectNear(state.parameter, std::vector<double>{0.95 - 0.1, 0.95 + 0.1}, 1e-12);
}

}  // namespace
}  // namespace longrun
