#include "model/instruction_set.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>

#include "base/arm.h"
#include "kernels/simd.h"

namespace longrun {
namespace {

TEST(RunsSimdTest, AProcessorRunsItsOwnAndWhatIsBelow) {
  EXPECT_TRUE(RunsSimd("avx512", "avx512"));
  EXPECT_TRUE(RunsSimd("avx512", "avx2"));
  EXPECT_TRUE(RunsSimd("avx2", "default"));
  EXPECT_FALSE(RunsSimd("avx2", "avx512"));
  EXPECT_FALSE(RunsSimd("default", "avx2"));
  EXPECT_TRUE(RunsSimd("sve256", "neon"));
  EXPECT_FALSE(RunsSimd("neon", "sve256"));
}

TEST(RunsSimdTest, AnotherArchitecturesIsNeverRun) {
  EXPECT_FALSE(RunsSimd("sve256", "avx2"));
  EXPECT_FALSE(RunsSimd("neon", "default"));
  EXPECT_FALSE(RunsSimd("avx512", "neon"));
}

TEST(RunsSimdTest, AnUnknownOneRunsItselfAlone) {
  EXPECT_TRUE(RunsSimd("vsx", "vsx"));
  EXPECT_FALSE(RunsSimd("vsx", "default"));
}

// aten/src/ATen/Version.cpp's answers. On ARM: of torch 2.11.0's aarch64 wheel.
TEST(CapabilityTest, LibTorchsNamesAreThoseOfARecord) {
#if defined(__aarch64__)
  EXPECT_EQ(SimdOfCapability("DEFAULT"), "neon");
  EXPECT_EQ(SimdOfCapability("SVE256"), "sve256");
#else
  EXPECT_EQ(SimdOfCapability("DEFAULT"), "default");
  EXPECT_EQ(SimdOfCapability("NO AVX"), "default");
  EXPECT_EQ(SimdOfCapability("AVX2"), "avx2");
  EXPECT_EQ(SimdOfCapability("AVX512"), "avx512");
#endif
}

TEST(CapabilityTest, LibTorchIsAskedForByItsOwnNames) {
  EXPECT_EQ(CapabilityOfSimd("neon"), "default");
  EXPECT_EQ(CapabilityOfSimd("sve256"), "sve256");
  EXPECT_EQ(CapabilityOfSimd("avx2"), "avx2");
  EXPECT_EQ(CapabilityOfSimd("default"), "default");
}

// The conditions of LibTorch and oneDNN (instruction_set.cc).
TEST(Bf16PathTest, IsTheBestThatTheProcessorHas) {
  EXPECT_EQ(Bf16Path("avx512f avx512_bf16 amx_bf16 amx_tile", "avx512"), "amx");
  EXPECT_EQ(Bf16Path("avx512f avx512_bf16 amx_bf16", "avx512"), "avx512_bf16");
  EXPECT_EQ(Bf16Path("avx512f avx512_bf16", "avx512"), "avx512_bf16");
  EXPECT_EQ(Bf16Path("avx512f avx512_bf16x", "avx512"), "avx512");
  EXPECT_EQ(Bf16Path("avx2", "avx2"), "none");
  EXPECT_EQ(Bf16Path("asimd bf16", "neon"), "bf16");
  EXPECT_EQ(Bf16Path("asimd bf16 sve", "sve256"), "bf16");
  EXPECT_EQ(Bf16Path("asimd", "neon"), "none");
}

TEST(DetectSimdTest, OurKernelsRunIt) {
  const std::optional<Simd> simd = FindSimd(DetectSimd());
  ASSERT_TRUE(simd);
  EXPECT_TRUE(IsRunnable(*simd));
}

// ./dev soak arm64 says which processor it shows: LONGRUN_SIMD_SHOWN.
TEST(DetectSimdTest, ItIsOneOfThisArchitecture) {
  const std::string simd = DetectSimd();
#if defined(__aarch64__)
  EXPECT_TRUE(RunsSimd("sve256", simd)) << simd;
  EXPECT_TRUE(SveBits() == 256 || simd == "neon") << simd;
#else
  EXPECT_EQ(SveBits(), 0);
#endif
  if (const char* const shown = std::getenv("LONGRUN_SIMD_SHOWN")) {
    EXPECT_EQ(simd, shown);
  }
}

}  // namespace
}  // namespace longrun
