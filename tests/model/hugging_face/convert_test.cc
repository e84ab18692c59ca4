// Rounding to bf16 and fp16: IEEE 754 to nearest, ties to even;
// halves and back by their definition.
#include "model/hugging_face/convert.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

namespace longrun {
namespace {

// (-1)^s 2^(e - 15) (1 + f / 1024), 2^-14 f / 1024 where e is 0.
double ByDefinition(std::uint16_t bits) {
  const int exponent = bits >> 10 & 0x1f, fraction = bits & 0x3ff;
  const double size =
      exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return (bits & 0x8000) != 0 ? -size : size;
}

TEST(ConvertTest, EachFiniteHalfIsItsDefinitionAndComesBack) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    if ((half >> 10 & 0x1f) == 0x1f) continue;
    ASSERT_EQ(FloatOfHalf(half), static_cast<float>(ByDefinition(half))) << bits;
    ASSERT_EQ(HalfOf(FloatOfHalf(half)), half) << bits;
  }
}

TEST(ConvertTest, BetweenTwoHalvesTheNearerIsTakenAndTheEvenOneOfTwo) {
  for (std::uint16_t half = 0; half < 0x7bff; ++half) {
    const double low = ByDefinition(half),
                 high = ByDefinition(static_cast<std::uint16_t>(half + 1));
    const auto middle = static_cast<float>((low + high) / 2);  // exact in 24 bits
    const auto even = static_cast<std::uint16_t>(half + (half & 1));
    ASSERT_EQ(HalfOf(middle), even) << half;
    ASSERT_EQ(HalfOf(std::nextafter(middle, 0.0f)), half) << half;
    ASSERT_EQ(HalfOf(std::nextafter(middle, 1e9f)), half + 1) << half;
  }
}

TEST(ConvertTest, WhatAHalfCannotHoldIsInfinite) {
  EXPECT_EQ(HalfOf(65519.99f), 0x7bff);  // 65504, the largest
  EXPECT_EQ(HalfOf(65520.0f), 0x7c00);
  EXPECT_EQ(HalfOf(-std::numeric_limits<float>::infinity()), 0xfc00);
  EXPECT_TRUE(std::isnan(FloatOfHalf(HalfOf(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_TRUE(std::isinf(FloatOfHalf(0x7c00)));
}

TEST(ConvertTest, Bfloat16HasTheUpperHalfOfAFloatRounded) {
  EXPECT_EQ(Bfloat16Of(1.0f), 0x3f80);
  EXPECT_EQ(Bfloat16Of(1.0f + 0x1p-8f), 0x3f80);  // a tie: to even
  EXPECT_EQ(Bfloat16Of(1.0f + 0x3p-8f), 0x3f82);  // a tie: to even
  EXPECT_EQ(Bfloat16Of(1.0f + 0x1.01p-8f), 0x3f81);
  EXPECT_EQ(Bfloat16Of(-2.5f), 0xc020);
  EXPECT_EQ(FloatOfBfloat16(0xc020), -2.5f);
  EXPECT_TRUE(std::isnan(FloatOfBfloat16(Bfloat16Of(std::numeric_limits<float>::quiet_NaN()))));
}

TEST(ConvertTest, ANumberThatFp16CannotHoldIsRefused) {
  const float values[] = {1.0f, 70000.0f};
  const StoredTensor tensor = {
      .type = StoredType::kF32, .shape = {2}, .bytes = std::as_bytes(std::span(values))};
  std::vector<std::byte> bytes;
  EXPECT_EQ(Convert(tensor, StoredType::kF16, bytes).message(),
            "the number 70000 is too large for fp16: use bf16");
  ASSERT_TRUE(Convert(tensor, StoredType::kBF16, bytes).ok());
  EXPECT_EQ(bytes.size(), 4u);
}

}  // namespace
}  // namespace longrun
