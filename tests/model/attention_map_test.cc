#include "model/attention_map.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <utility>

#include "base/files.h"
#include "base/str.h"
#include "model/safetensors.h"

namespace longrun {
namespace {

// Value 10 i + j where j <= i (and i - j < window), hidden elsewhere.
AttentionMap Numbered(std::int64_t n, std::int64_t window = 0,
                      AttentionMap::Values of = AttentionMap::Values::kProbabilities) {
  AttentionMap map;
  map.values_of = of;
  map.n_tokens = n;
  map.layers = {0, 2};
  map.heads = {1};
  map.window = window;
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      const bool is_visible = j <= i && (window == 0 || i - j < window);
      const float hidden =
          of == AttentionMap::Values::kLogits ? std::numeric_limits<float>::quiet_NaN() : 0.0F;
      map.values.push_back(is_visible ? static_cast<float>(10 * i + j) : hidden);
    }
    if (of == AttentionMap::Values::kProbabilities)
      map.entropy.push_back(0.5 * static_cast<double>(i));
    map.head_entropy.push_back(0.25 * static_cast<double>(i));
  }
  map.labels = {{"method", "cable"}, {"document", "3"}};
  return map;
}

// Of 5 x 5 by blocks of 2, written out:
//    0  .  .  .  .      cell (0,0): 0, 10, 11        (1,0): 20, 21, 30, 31   (2,0): 40, 41
//   10 11  .  .  .      cell (1,1): 22, 32, 33       (2,1): 42, 43           (2,2): 44
//   20 21 22  .  .
//   30 31 32 33  .
//   40 41 42 43 44
TEST(AttentionMapFileTest, PoolingTakesVisiblePairsAlone) {
  const AttentionMap mean = PoolMap(Numbered(5), 3, AttentionMap::Pool::kMean);
  EXPECT_EQ(mean.block, 2);
  EXPECT_EQ(mean.Side(), 3);
  EXPECT_EQ(mean.values, (std::vector<float>{7, 0, 0, 25.5, 29, 0, 40.5, 42.5, 44}));
  const AttentionMap max = PoolMap(Numbered(5), 3, AttentionMap::Pool::kMax);
  EXPECT_EQ(max.values, (std::vector<float>{11, 0, 0, 31, 33, 0, 41, 43, 44}));
  EXPECT_EQ(mean.VisiblePairs(0, 0), 3);
  EXPECT_EQ(mean.VisiblePairs(0, 1), 0);
  EXPECT_EQ(mean.VisiblePairs(2, 2), 1);
  EXPECT_EQ(mean.entropy.size(), 5u);  // of queries: not pooled

  // A window of 2 leaves the diagonal and what is left of it.
  const AttentionMap window =
      PoolMap(Numbered(5, 2, AttentionMap::Values::kLogits), 3, AttentionMap::Pool::kMean);
  EXPECT_EQ(window.values[3], 21.0F);
  EXPECT_TRUE(std::isnan(window.values[6]));
  EXPECT_TRUE(std::isnan(window.values[1]));
}

TEST(AttentionMapFileTest, WhatIsSmallEnoughStaysAndPoolingTwiceIsPoolingOnce) {
  EXPECT_EQ(PoolMap(Numbered(5), 5, AttentionMap::Pool::kMean).values, Numbered(5).values);
  EXPECT_EQ(PoolMap(Numbered(5), 0, AttentionMap::Pool::kMean).block, 1);
  for (const auto pool : {AttentionMap::Pool::kMean, AttentionMap::Pool::kMax}) {
    const AttentionMap once = PoolMap(Numbered(13), 4, pool);
    // The way of the first pooling is kept.
    const AttentionMap twice = PoolMap(PoolMap(Numbered(13), 7, pool), 4, AttentionMap::Pool::kMax);
    EXPECT_EQ(once.block, 4);
    EXPECT_EQ(twice.block, 4);
    EXPECT_EQ(twice.pooled_by, pool);
    ASSERT_EQ(once.values.size(), twice.values.size());
    for (std::size_t n = 0; n < once.values.size(); ++n) {
      EXPECT_NEAR(once.values[n], twice.values[n], 1e-4) << n;
    }
  }
}

TEST(AttentionMapFileTest, WhatIsWrittenIsRead) {
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "map.safetensors");
  for (const auto of : {AttentionMap::Values::kProbabilities, AttentionMap::Values::kLogits}) {
    AttentionMap map = PoolMap(Numbered(7, 3, of), 4, AttentionMap::Pool::kMax);
    map.n_texts = 2;
    ASSERT_TRUE(WriteFileAtomic(path, AttentionMapBytes(map)).ok());
    const Result<AttentionMap> read = ReadAttentionMap(path);
    ASSERT_TRUE(read.ok()) << read.status().message();
    EXPECT_EQ(read->values_of, of);
    EXPECT_EQ(read->n_tokens, 7);
    EXPECT_EQ(read->n_texts, 2);
    EXPECT_EQ(read->layers, map.layers);
    EXPECT_EQ(read->heads, map.heads);
    EXPECT_EQ(read->window, 3);
    EXPECT_TRUE(read->is_causal);
    EXPECT_EQ(read->block, 2);
    EXPECT_EQ(read->pooled_by, AttentionMap::Pool::kMax);
    EXPECT_EQ(read->entropy, map.entropy);
    EXPECT_EQ(read->head_entropy, map.head_entropy);
    EXPECT_EQ(read->labels, map.labels);
    ASSERT_EQ(read->values.size(), map.values.size());
    for (std::size_t n = 0; n < map.values.size(); ++n) {
      EXPECT_EQ(std::isnan(read->values[n]), std::isnan(map.values[n]));
      if (!std::isnan(map.values[n])) {
        EXPECT_EQ(read->values[n], map.values[n]);
      }
    }
  }
}

TEST(AttentionMapFileTest, AFileThatDisagreesWithItselfIsRefused) {
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "map.safetensors");
  const std::string good = AttentionMapBytes(Numbered(4));
  const auto refused = [&](std::string_view what, std::string_view with) {
    std::string bytes = good;
    const std::size_t at = bytes.find(what);
    EXPECT_NE(at, std::string::npos) << what;
    EXPECT_EQ(what.size(), with.size());
    bytes.replace(at, what.size(), with);
    EXPECT_TRUE(WriteFileAtomic(path, bytes).ok());
    const Result<AttentionMap> read = ReadAttentionMap(path);
    EXPECT_FALSE(read.ok()) << what << " as " << with;
    EXPECT_EQ(read.status().code(), Code::kDataLoss);
    EXPECT_TRUE(read.status().message().starts_with(path));
    return read.status().message();
  };
  EXPECT_NE(refused("attention map 1", "attention map 2").find("is not an attention map"),
            std::string::npos);
  EXPECT_NE(refused(R"("tokens":"4")", R"("tokens":"5")").find("expected F64 [5]"),
            std::string::npos);
  refused(R"("tokens":"4")", R"("tokens":"x")");
  refused(R"("tokens":"4")", R"("tokens":"0")");
  refused(R"("block":"1")", R"("block":"0")");
  refused(R"("block":"1")", R"("block":"5")");
  refused(R"("block":"1")", R"("block":"2")");
  refused(R"("layers":"0,2")", R"("layers":"0,,")");
  refused(R"("head_entropy")", R"("head_entrope")");
  EXPECT_EQ(ReadAttentionMap(JoinPath(folder.path(), "nowhere")).status().code(), Code::kNotFound);
}

TEST(AttentionMapFileTest, ADifferenceIsTakenCellByCell) {
  constexpr auto kLogits = AttentionMap::Values::kLogits;
  AttentionMap a = Numbered(3, 0, kLogits), b = a;
  b.values[3] = 4.0F;                                     // 10 - 4
  b.values[6] = std::numeric_limits<float>::quiet_NaN();  // an extension hides this key
  b.labels = {{"method", "rope"}};
  const Result<AttentionMap> difference = AttentionDifference(a, b);
  ASSERT_TRUE(difference.ok()) << difference.status().message();
  EXPECT_EQ(difference->values[0], 0.0F);
  EXPECT_EQ(difference->values[3], 6.0F);
  EXPECT_TRUE(std::isnan(difference->values[6]));
  EXPECT_TRUE(std::isnan(difference->values[1]));  // a later key
  EXPECT_EQ(difference->labels, a.labels);
  EXPECT_TRUE(difference->entropy.empty() && difference->head_entropy.empty());

  const auto why = [&](const AttentionMap& other) {
    return std::string(AttentionDifference(a, other).status().message());
  };
  EXPECT_EQ(why(Numbered(3)),
            "the two maps cannot be subtracted: their values are logits and probabilities; measure "
            "both with the same parameters of attention_map");
  EXPECT_NE(why(Numbered(4, 0, kLogits)).find("tokens are 3 and 4"), std::string::npos);
  b.is_causal = false;
  EXPECT_NE(why(b).find("visible keys are causal and both sides"), std::string::npos) << why(b);
  b.is_causal = true;
  b.heads = {0};
  EXPECT_NE(why(b).find("heads are 1 and 0"), std::string::npos) << why(b);
  b = PoolMap(a, 2, AttentionMap::Pool::kMax);
  EXPECT_NE(why(b).find("cells are mean of 1 x 1 and max of 2 x 2"), std::string::npos) << why(b);
}

// A pair that a window hides has probability 0, and no logit.
TEST(AttentionMapFileTest, ADifferenceIsOverThePairsThatEitherMapSees) {
  constexpr auto kMean = AttentionMap::Pool::kMean, kMax = AttentionMap::Pool::kMax;
  constexpr auto kLogits = AttentionMap::Values::kLogits;
  const auto minus = [](const AttentionMap& a, const AttentionMap& b) {
    const Result<AttentionMap> difference = AttentionDifference(a, b);
    EXPECT_TRUE(difference.ok()) << difference.status().message();
    return difference.ok() ? *difference : AttentionMap();
  };
  // Windows of 2 and 4 keys, and none.
  const AttentionMap all = Numbered(5), four = Numbered(5, 4), two = Numbered(5, 2);
  const AttentionMap difference = minus(two, all);
  EXPECT_EQ(difference.window, 0);
  EXPECT_EQ(difference.values[4 * 5 + 2], -42.0F);
  EXPECT_EQ(difference.values[4 * 5 + 3], 0.0F);
  EXPECT_EQ(minus(two, four).window, 4);
  EXPECT_EQ(minus(four, two).window, 4);
  EXPECT_EQ(minus(two, two).window, 2);

  // The mean of the differences is the difference of the means, if both are over the same pairs.
  for (const auto& [a, b] : {std::pair(two, all), {all, two}, {two, four}, {four, two}}) {
    EXPECT_EQ(minus(PoolMap(a, 3, kMean), PoolMap(b, 3, kMean)).values,
              PoolMap(minus(a, b), 3, kMean).values);
  }
  // In cell (2, 0), the window of 2 sees nothing; in cell (1, 0), only 21.
  const AttentionMap largest = minus(PoolMap(all, 3, kMax), PoolMap(two, 3, kMax));
  EXPECT_EQ(largest.values[2 * 3 + 0], 41.0F);
  EXPECT_EQ(largest.values[1 * 3 + 0], 31.0F - 21.0F);

  const AttentionMap of_logits = minus(Numbered(5, 0, kLogits), Numbered(5, 2, kLogits));
  EXPECT_TRUE(std::isnan(of_logits.values[4 * 5 + 2]));
  EXPECT_EQ(of_logits.values[4 * 5 + 3], 0.0F);
  // Of cell (1, 0), the window sees one pair of four; of cell (0, 0), all three.
  const AttentionMap pooled =
      minus(PoolMap(Numbered(5, 0, kLogits), 3, kMean), PoolMap(Numbered(5, 2, kLogits), 3, kMean));
  EXPECT_TRUE(std::isnan(pooled.values[1 * 3 + 0]));
  EXPECT_EQ(pooled.values[0], 0.0F);
}

}  // namespace
}  // namespace longrun
