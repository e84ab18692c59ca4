#include "model/data/order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <vector>

#include "base/random.h"

namespace longrun {
namespace {

std::vector<std::uint64_t> Images(std::uint64_t n, std::uint64_t key, std::uint64_t count) {
  std::vector<std::uint64_t> images;
  for (std::uint64_t i = 0; i < count; ++i) images.push_back(Permute(i, n, key));
  return images;
}

// The vectors were computed by an independent Python script from the formulas of order.h.
TEST(PermuteTest, AgreesWithTheVectorsOfTheSpecification) {
  EXPECT_EQ(Images(10, 42, 10), (std::vector<std::uint64_t>{1, 3, 6, 4, 2, 9, 8, 0, 7, 5}));
  EXPECT_EQ(Images(10, 43, 10), (std::vector<std::uint64_t>{4, 7, 9, 3, 5, 8, 1, 0, 2, 6}));
  EXPECT_EQ(Images(2, 42, 2), (std::vector<std::uint64_t>{0, 1}));
  EXPECT_EQ(Images(1000, 42, 10),
            (std::vector<std::uint64_t>{714, 24, 922, 205, 646, 738, 787, 494, 243, 278}));
  EXPECT_EQ(Permute(0, 2000000, 42), 1406933u);
  EXPECT_EQ(Permute(1, 2000000, 42), 1543126u);
  EXPECT_EQ(Permute(2, 2000000, 42), 442828u);
  EXPECT_EQ(Permute(1999999, 2000000, 42), 682638u);
}

TEST(PermuteTest, RandomStreamsAgreeWithTheVectorsOfTheSpecification) {
  EXPECT_EQ(Sm64(0), 0xe220a8397b1dcdafu);
  EXPECT_EQ(Sm64(1), 0x910a2dec89025cc1u);
  EXPECT_EQ(Sm64(42), 0xbdd732262feb6e95u);
  EXPECT_EQ(StreamKey(1337, 0, 0), 0x5ac0d68b3d7993a3u);
  EXPECT_EQ(StreamKey(1337, 1, 0), 0xa5484b6569558fa5u);
}

TEST(PermuteTest, OneElementStaysWhereItIs) {
  EXPECT_EQ(Permute(0, 1, 42), 0u);
  EXPECT_EQ(Permute(0, 0, 42), 0u);
}

TEST(PermuteTest, IsAPermutationForEverySmallSize) {
  for (std::uint64_t n = 1; n <= 300; ++n) {
    std::vector<std::uint64_t> images = Images(n, 7 * n, n);
    std::ranges::sort(images);
    std::vector<std::uint64_t> all(n);
    std::iota(all.begin(), all.end(), 0);
    EXPECT_EQ(images, all) << n;
  }
}

SampleOrder Order(OrderKind kind) {
  return {.kind = kind, .seed = 1337, .n_tokens = 101, .train_length = 10};
}

TEST(SampleOrderTest, StreamGoesThroughTheSlicesAndWraps) {
  const SampleOrder order = Order(OrderKind::kStream);
  EXPECT_EQ(order.Start(0), 0);
  EXPECT_EQ(order.Start(9), 90);  // tokens [90, 101): the last token is the last target
  EXPECT_EQ(order.Start(10), 0);
}

TEST(SampleOrderTest, ShuffledVisitsEachSliceOnceInAnEpochAndEachEpochDiffers) {
  const SampleOrder order = Order(OrderKind::kShuffled);
  std::vector<std::int64_t> first, second;
  for (std::int64_t g = 0; g < 10; ++g) {
    first.push_back(order.Start(g));
    second.push_back(order.Start(10 + g));
    // The definition of order.h.
    EXPECT_EQ(first.back(), static_cast<std::int64_t>(10 * Permute(static_cast<std::uint64_t>(g),
                                                                   10, StreamKey(1337, 0, 0))));
  }
  EXPECT_EQ(std::set<std::int64_t>(first.begin(), first.end()).size(), 10u);
  EXPECT_EQ(std::set<std::int64_t>(second.begin(), second.end()).size(), 10u);
  EXPECT_NE(first, second);
}

TEST(SampleOrderTest, RandomStartsStayInsideAndReachBothEnds) {
  const SampleOrder order = Order(OrderKind::kRandom);
  std::set<std::int64_t> starts;
  for (std::int64_t g = 0; g < 5000; ++g) starts.insert(order.Start(g));
  EXPECT_EQ(*starts.begin(), 0);
  EXPECT_EQ(*starts.rbegin(), 90);  // 90 + 10 + 1 = 101 tokens
  EXPECT_EQ(order.Start(3), static_cast<std::int64_t>(Sm64(StreamKey(1337, 0, 2) ^ 3) % 91));
}

TEST(SampleOrderTest, ASplitOfOneTokenMoreThanTheTrainLengthIsEnough) {
  SampleOrder order = Order(OrderKind::kRandom);
  order.n_tokens = 11;
  EXPECT_TRUE(order.Check().ok());
  EXPECT_EQ(order.Start(12345), 0);
  order.n_tokens = 10;
  EXPECT_EQ(order.Check().code(), Code::kInvalidArgument);
  EXPECT_NE(order.Check().message().find("has 10 tokens"), std::string::npos);
}

}  // namespace
}  // namespace longrun
