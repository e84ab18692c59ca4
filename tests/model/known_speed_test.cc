#include "model/known_speed.h"

#include <gtest/gtest.h>

#include <string_view>

#include "model/matrix_path.h"

namespace longrun {
namespace {

CpuPaths Paths(int family, std::string simd, std::string linear) {
  return {.cpu = {.name = "AMD EPYC", .vendor = "AuthenticAMD", .family = family, .model = 0x11},
          .simd = std::move(simd),
          .linear = std::move(linear)};
}

TEST(KnownSpeedTest, WhatWasMeasuredIsKnownByInstructionSetAndMatrixPath) {
  const KnownSpeed* const zen5 = FindKnownSpeed(Paths(26, "avx512", "onednn/AuthenticAMD"));
  ASSERT_NE(zen5, nullptr);
  EXPECT_EQ(zen5->microarchitecture, "Zen 5");
  const KnownSpeed* const intel = FindKnownSpeed(Paths(26, "avx512", "aten/GenuineIntel"));
  ASSERT_NE(intel, nullptr);
  EXPECT_EQ(intel->microarchitecture, "Sapphire Rapids");
  EXPECT_EQ(FindKnownSpeed(Paths(26, "avx512", "aten/AuthenticAMD")), nullptr);
  EXPECT_EQ(FindKnownSpeed(Paths(26, "avx2", "aten/AuthenticAMD")), nullptr);
  EXPECT_EQ(FindKnownSpeed(Paths(26, "avx512", "onednn/GenuineIntel")), nullptr);
}

// Genoa has the same paths as what was measured: the row says on what,
// and the reader sees the difference.
TEST(KnownSpeedTest, AnotherMicroarchitectureOfTheSamePathsIsGivenTheRowThatIsThere) {
  const CpuPaths zen4 = Paths(25, "avx512", "onednn/AuthenticAMD");
  ASSERT_EQ(MicroarchitectureOf(zen4.cpu), "Zen 4");
  const KnownSpeed* const known = FindKnownSpeed(zen4);
  ASSERT_NE(known, nullptr);
  EXPECT_EQ(known->microarchitecture, "Zen 5");
}

// A row of a path that no new run takes would tell a reader of a speed that he cannot have.
TEST(KnownSpeedTest, EachRowIsOfAPathThatANewRunTakes) {
  for (const KnownSpeed& known : KnownSpeeds()) {
    const std::string_view vendor = known.linear.substr(known.linear.find('/') + 1);
    EXPECT_EQ(MatrixPathName(NewRunMatrixPath(vendor, known.simd), vendor), known.linear);
    for (const KnownRate& rate : {known.products, known.attention}) {
      EXPECT_GT(rate.low, 0) << known.linear;
      EXPECT_GE(rate.high, rate.low) << known.linear;
    }
  }
}

}  // namespace
}  // namespace longrun
