// The preparation of a learned bias per key beside the reference.
#include "kernels/key_bias.h"

#include <gtest/gtest.h>

#include "kernels/reference/key_bias.h"
#include "tests/kernels/fixture.h"
#include "tests/kernels/row_kernels.h"
#include "tests/kernels/rows.h"

namespace longrun {
namespace {

using testing::Draw;
using testing::ExpectClose;
using testing::Guarded;
using testing::SameBits;
using testing::ToDoubles;

std::vector<double> Times(std::vector<double> x, double factor) {
  for (double& one : x) one *= factor;
  return x;
}

class KeyBiasKernelTest : public testing::RowKernelsTest {};

// The reference has CABLE's gate; FoX's is the same of -a.
TEST_P(KeyBiasKernelTest, IsTheReferenceForEveryShapeGateAndForm) {
  constexpr std::int64_t kShapes[][3] = {{1, 1, 1},   {2, 3, 5},   {1, 2, 128},
                                         {3, 5, 129}, {2, 4, 700}, {1, 9, 1500}};
  for (const auto& [batch, n_head, n_key] : kShapes) {
    for (const bool log_sigmoid : {false, true}) {
      const KeyBiasShape shape = {batch, n_head, n_key, log_sigmoid};
      const KeyBiasSize size = {.batch = batch, .n_head = n_head, .n_key = n_key};
      const std::int64_t n = batch * n_head * n_key;
      const std::int64_t n_block = (n_key + kKeyBiasBlock - 1) / kKeyBiasBlock;
      const std::vector<float> a = Draw<float>(n, 1, 2.0);
      const std::vector<double> dr = Draw<double>(n, 2);
      const double sign = log_sigmoid ? -1.0 : 1.0;
      const std::vector<double> expected = ReferenceKeyBiasForward(size, Times(ToDoubles(a), sign));

      Guarded<double> r(n), anchor(batch * n_head * n_block);
      Guarded<float> local(n), da(n);
      KeyBiasForward({.shape = shape, .a = a.data(), .r = r.data()});
      ExpectClose(r.doubles(), expected, 1e-14, "r");
      KeyBiasForward({.shape = shape,
                      .a = a.data(),
                      .local = local.data(),
                      .anchor = anchor.data(),
                      .negated = true});
      for (std::int64_t i = 0; i < n; ++i) {
        const std::int64_t series = i / n_key, t = i % n_key;
        const double before =
            anchor.values()[static_cast<std::size_t>(series * n_block + t / kKeyBiasBlock)];
        const auto at = static_cast<std::size_t>(i);
        // A block's sum reaches some hundreds, whose fp32 steps are 3e-5 and less.
        EXPECT_NEAR(before + static_cast<double>(local.values()[at]), -expected[at], 3e-5);
      }
      KeyBiasBackward({.shape = shape, .a = a.data(), .dr = dr.data(), .da = da.data()});
      ExpectClose(da.doubles(),
                  Times(ReferenceKeyBiasBackward(size, Times(ToDoubles(a), sign), dr), sign), 1e-7,
                  "da");
      r.ExpectBandsWhole();
      anchor.ExpectBandsWhole();
      local.ExpectBandsWhole();
      da.ExpectBandsWhole();
    }
  }
}

TEST_P(KeyBiasKernelTest, WhatStandsBeforeIsGoneOnFrom) {
  const KeyBiasShape whole = {2, 3, 200}, rest = {2, 3, 50}, first = {2, 3, 150};
  const std::vector<float> a = Draw<float>(2 * 200 * 3, 1);
  std::vector<float> a_first, a_rest;
  for (std::size_t b = 0; b < 2; ++b) {
    const auto row = [&](std::size_t t) {
      return a.begin() + static_cast<std::ptrdiff_t>((b * 200 + t) * 3);
    };
    a_first.insert(a_first.end(), row(0), row(150));
    a_rest.insert(a_rest.end(), row(150), row(200));
  }
  Guarded<double> all(2 * 3 * 200), begun(2 * 3 * 150), gone_on(2 * 3 * 50);
  KeyBiasForward({.shape = whole, .a = a.data(), .r = all.data()});
  KeyBiasForward({.shape = first, .a = a_first.data(), .r = begun.data()});
  std::vector<double> before;
  for (std::size_t series = 0; series < 6; ++series) {
    before.push_back(begun.values()[series * 150 + 149]);
  }
  for (const bool negated : {false, true}) {
    KeyBiasForward({.shape = rest,
                    .a = a_rest.data(),
                    .before = before.data(),
                    .r = gone_on.data(),
                    .negated = negated});
    const double sign = negated ? -1.0 : 1.0;
    for (std::size_t series = 0; series < 6; ++series) {
      for (std::size_t t = 0; t < 50; ++t) {
        EXPECT_NEAR(gone_on.values()[series * 50 + t], sign * all.values()[series * 200 + 150 + t],
                    1e-11);
      }
    }
  }
}

TEST_P(KeyBiasKernelTest, BitsDependOnNeitherThreadsNorOtherSequences) {
  const KeyBiasShape shape = {4, 3, 150}, alone = {1, 3, 150};
  const std::vector<float> a = Draw<float>(4 * 150 * 3, 1);
  Guarded<double> one(4 * 450), three(4 * 450), second(450);
  KeyBiasForward({.shape = shape, .a = a.data(), .r = one.data()});
  KeyBiasForward({.shape = shape, .a = a.data(), .r = three.data()}, 3);
  KeyBiasForward({.shape = alone, .a = a.data() + 450, .r = second.data()});
  EXPECT_TRUE(SameBits(one, three));
  EXPECT_TRUE(SameBits(second.values(), one.values().subspan(450, 450)));
}

TEST_P(KeyBiasKernelTest, LargeGatesNeitherOverflowNorVanish) {
  const std::vector<float> a = {1e4F, -1e4F, 88.0F, -88.0F, 0.0F};
  Guarded<double> r(5);
  Guarded<float> da(5);
  const std::vector<double> dr(5, 1.0);
  const KeyBiasShape shape = {1, 1, 5};
  KeyBiasForward({.shape = shape, .a = a.data(), .r = r.data()});
  KeyBiasBackward({.shape = shape, .a = a.data(), .dr = dr.data(), .da = da.data()});
  testing::ExpectNear(r.doubles(),
                      std::vector<double>{-1e4, -1e4, -10088.0, -10088.0, -10088.0 - std::log(2.0)},
                      1e-9);
  testing::ExpectNear(da.doubles(), std::vector<double>{-5.0, 0.0, -3.0, 0.0, -0.5}, 1e-6);
}

LONGRUN_FOR_EVERY_ROW_KERNEL(KeyBiasKernelTest);

}  // namespace
}  // namespace longrun
