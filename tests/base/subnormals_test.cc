#include "base/subnormals.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <limits>
#include <thread>

namespace longrun {
namespace {

constexpr float kLeastNormal = std::numeric_limits<float>::min();
constexpr float kSubnormal = kLeastNormal / 8;

// At run time: the compiler knows nothing of the mode.
template <typename T>
T Product(T x, T y) {
  volatile T a = x, b = y;
  return a * b;
}

TEST(SubnormalsTest, KeptOperandsAndResultsAreIeees) {
  const ScopedSubnormals mode(Subnormals::kKept);
  EXPECT_EQ(Product(kLeastNormal, 0.25F), kLeastNormal / 4);
  EXPECT_EQ(Product(kSubnormal, 8.0F), kLeastNormal);
}

// Bits are compared: where operands are flushed, a subnormal number equals zero.
TEST(SubnormalsTest, FlushedResultsAreZerosOfTheirSign) {
  const ScopedSubnormals mode(Subnormals::kFlushed);
  const auto bits = [](float x) { return std::bit_cast<std::uint32_t>(x); };
  EXPECT_EQ(bits(Product(kLeastNormal, 0.25F)), bits(0.0F));
  EXPECT_EQ(bits(Product(-kLeastNormal, 0.25F)), bits(-0.0F));
  EXPECT_EQ(bits(Product(kLeastNormal, 1.0F)), bits(kLeastNormal));
  EXPECT_EQ(std::bit_cast<std::uint64_t>(Product(std::numeric_limits<double>::min(), 0.25)), 0U);
}

TEST(SubnormalsTest, FlushedOperandsAreZeros) {
  const ScopedSubnormals mode(Subnormals::kFlushed);
  EXPECT_EQ(Product(kSubnormal, 1024.0F), 0.0F);
  EXPECT_EQ(Product(std::numeric_limits<double>::denorm_min(), 1e300), 0.0);
}

TEST(SubnormalsTest, AScopeGivesBackWhatWasThere) {
  SetSubnormals(Subnormals::kKept);
  {
    const ScopedSubnormals outer(Subnormals::kFlushed);
    {
      const ScopedSubnormals inner(Subnormals::kKept);
      EXPECT_EQ(SubnormalsOfThread(), Subnormals::kKept);
    }
    EXPECT_EQ(SubnormalsOfThread(), Subnormals::kFlushed);
  }
  EXPECT_EQ(SubnormalsOfThread(), Subnormals::kKept);
}

TEST(SubnormalsTest, ANewThreadHasTheModeOfTheOneThatStartsIt) {
  for (const Subnormals mode : {Subnormals::kFlushed, Subnormals::kKept}) {
    const ScopedSubnormals scope(mode);
    Subnormals found = Subnormals::kKept;
    std::thread([&found] { found = SubnormalsOfThread(); }).join();
    EXPECT_EQ(found, mode);
  }
}

TEST(SubnormalsTest, OneThreadsModeIsNoOthers) {
  SetSubnormals(Subnormals::kKept);
  std::thread([] { SetSubnormals(Subnormals::kFlushed); }).join();
  EXPECT_EQ(SubnormalsOfThread(), Subnormals::kKept);
}

TEST(SubnormalsTest, NamesAreReadBack) {
  for (const Subnormals mode : {Subnormals::kFlushed, Subnormals::kKept}) {
    EXPECT_EQ(FindSubnormals(SubnormalsName(mode)), mode);
  }
  EXPECT_FALSE(FindSubnormals("sometimes").has_value());
}

}  // namespace
}  // namespace longrun
