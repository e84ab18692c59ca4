// Rounding to bf16 and fp16: IEEE 754 to nearest, ties to even;
// halves and back by their definition. What GPUs run (kernels/cuda/device.h) gives the same bits.
#include "kernels/scalar.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "base/subnormals.h"
#include "kernels/cuda/device.h"

namespace longrun {
namespace {

// (-1)^s 2^(e - 15) (1 + f / 1024), 2^-14 f / 1024 where e is 0.
double ByDefinition(std::uint16_t bits) {
  const int exponent = bits >> 10 & 0x1f, fraction = bits & 0x3ff;
  const double size =
      exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return (bits & 0x8000) != 0 ? -size : size;
}

TEST(ScalarTest, EachFiniteHalfIsItsDefinitionAndComesBack) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    if ((half >> 10 & 0x1f) == 0x1f) continue;
    ASSERT_EQ(FromFp16(half), static_cast<float>(ByDefinition(half))) << bits;
    ASSERT_EQ(ToFp16(FromFp16(half)), half) << bits;
  }
}

TEST(ScalarTest, BetweenTwoHalvesTheNearerIsTakenAndTheEvenOneOfTwo) {
  for (std::uint16_t half = 0; half < 0x7bff; ++half) {
    const double low = ByDefinition(half),
                 high = ByDefinition(static_cast<std::uint16_t>(half + 1));
    const auto middle = static_cast<float>((low + high) / 2);  // exact in 24 bits
    const auto even = static_cast<std::uint16_t>(half + (half & 1));
    ASSERT_EQ(ToFp16(middle), even) << half;
    ASSERT_EQ(ToFp16(std::nextafter(middle, 0.0f)), half) << half;
    ASSERT_EQ(ToFp16(std::nextafter(middle, 1e9f)), half + 1) << half;
  }
}

TEST(ScalarTest, WhatAHalfCannotHoldIsInfinite) {
  EXPECT_EQ(ToFp16(65519.99f), 0x7bff);  // 65504, the largest
  EXPECT_EQ(ToFp16(65520.0f), 0x7c00);
  EXPECT_EQ(ToFp16(-std::numeric_limits<float>::infinity()), 0xfc00);
  EXPECT_TRUE(std::isnan(FromFp16(ToFp16(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_TRUE(std::isinf(FromFp16(0x7c00)));
}

TEST(ScalarTest, Bfloat16HasTheUpperHalfOfAFloatRounded) {
  EXPECT_EQ(ToBf16(1.0f), 0x3f80);
  EXPECT_EQ(ToBf16(1.0f + 0x1p-8f), 0x3f80);  // a tie: to even
  EXPECT_EQ(ToBf16(1.0f + 0x3p-8f), 0x3f82);  // a tie: to even
  EXPECT_EQ(ToBf16(1.0f + 0x1.01p-8f), 0x3f81);
  EXPECT_EQ(ToBf16(-2.5f), 0xc020);
  EXPECT_EQ(FromBf16(0xc020), -2.5f);
  EXPECT_TRUE(std::isnan(FromBf16(ToBf16(std::numeric_limits<float>::quiet_NaN()))));
}

// Every exponent, and mantissas around each border.
TEST(ScalarTest, GpusConvertAsTheHostDoesInEveryMode) {
  for (const Subnormals mode : {Subnormals::kKept, DefaultSubnormals()}) {
    const ScopedSubnormals scope(mode);
    for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
      const auto half = static_cast<std::uint16_t>(bits);
      ASSERT_EQ(std::bit_cast<std::uint32_t>(gpu::FromFp16(half)),
                std::bit_cast<std::uint32_t>(FromFp16(half)))
          << bits;
      for (const std::uint32_t low : {0U, 1U, 0xfffU, 0x1000U, 0x1001U, 0x1fffU, 0xffffU}) {
        const auto x = std::bit_cast<float>(bits << 16 | low);
        ASSERT_EQ(gpu::ToFp16(x), ToFp16(x)) << x;
        ASSERT_EQ(gpu::ToBf16(x), ToBf16(x)) << x;
      }
    }
  }
}

}  // namespace
}  // namespace longrun
