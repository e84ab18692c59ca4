// Randomness against its published vectors.
#include "base/random.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/ulid.h"

namespace longrun {
namespace {

// The first outputs of the official SplitMix64 with the seeds 0, 1, 42.
TEST(Sm64Test, MatchesTheVectorsOfTheFormat) {
  EXPECT_EQ(Sm64(0), 0xe220a8397b1dcdafu);
  EXPECT_EQ(Sm64(1), 0x910a2dec89025cc1u);
  EXPECT_EQ(Sm64(42), 0xbdd732262feb6e95u);
}

TEST(Sm64Test, StreamKeysMatchTheVectorsOfTheFormat) {
  EXPECT_EQ(StreamKey(1337, 0, 0), 0x5ac0d68b3d7993a3u);
  EXPECT_EQ(StreamKey(1337, 1, 0), 0xa5484b6569558fa5u);
}

// Random123, examples/kat_vectors, philox4x32 10.
TEST(PhiloxTest, MatchesTheVectorsOfRandom123) {
  using Words = std::array<std::uint32_t, 4>;
  EXPECT_EQ(Philox4x32({0, 0, 0, 0}, {0, 0}),
            (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr std::uint32_t kAll = 0xffffffff;
  EXPECT_EQ(Philox4x32({kAll, kAll, kAll, kAll}, {kAll, kAll}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(SeededRandomTest, SeedIsTheWholeSequence) {
  SeededRandom a(7), b(7), c(8);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(a.Next(), b.Next());
  EXPECT_EQ(a.n_drawn(), 10u);
  EXPECT_NE(a.Next(), c.Next());
}

TEST(SeededRandomTest, DrawsLieInTheirRange) {
  SeededRandom random(1);
  std::vector<int> n_seen(7);
  constexpr int kDraws = 70'000;
  for (int i = 0; i < kDraws; ++i) ++n_seen[random.Below(7)];
  // 10000 expected in each, standard deviation sqrt(n p (1 - p)) = 93: five of them.
  for (const int n : n_seen) EXPECT_NEAR(n, 10'000, 465);
  double sum = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double u = random.Uniform();
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    sum += u;
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 0.0055);  // five times 1 / sqrt(12 n)
  EXPECT_FALSE(random.Chance(0));
  EXPECT_TRUE(random.Chance(1));
}

TEST(UlidTest, SortsByTimeAndIsRecognised) {
  SeededRandom random(3);
  // The specification's example: 1469918176385 ms is 01ARYZ6S41.
  const std::string ulid = MakeUlid(1469918176385, random);
  EXPECT_EQ(ulid.substr(0, 10), "01ARYZ6S41");
  EXPECT_TRUE(IsUlid(ulid));
  EXPECT_NE(MakeUlid(1469918176385, random), ulid);
  EXPECT_LT(ulid, MakeUlid(1469918176386, random));
  EXPECT_EQ(MakeUlid((std::int64_t{1} << 48) - 1, random).substr(0, 10), "7ZZZZZZZZZ");
}

TEST(UlidTest, TellsWhenItWasMade) {
  SeededRandom random(1);
  for (const std::int64_t wall_ms :
       {std::int64_t{0}, std::int64_t{1469918176385}, (std::int64_t{1} << 48) - 1}) {
    EXPECT_EQ(UlidWallMs(MakeUlid(wall_ms, random)), wall_ms);
  }
  EXPECT_EQ(UlidWallMs("01ARYZ6S41TSV4RRFFQ69G5FAV"), 1469918176385);  // of the ULID specification
  EXPECT_EQ(UlidWallMs("no-ulid"), std::nullopt);
}

TEST(UlidTest, OtherTextIsRefused) {
  EXPECT_FALSE(IsUlid(""));
  EXPECT_FALSE(IsUlid("01ARYZ6S41TSV4RRFFQ69G5FA"));   // 25
  EXPECT_FALSE(IsUlid("81ARYZ6S41TSV4RRFFQ69G5FAV"));  // more than 128 bits
  EXPECT_FALSE(IsUlid("01ARYZ6S41TSV4RRFFQ69G5FAU"));  // U is no digit
  EXPECT_FALSE(IsUlid("01aryz6s41tsv4rrffq69g5fav"));
}

TEST(EntropyTest, TwoSeedsDiffer) { EXPECT_NE(EntropySeed(), EntropySeed()); }

}  // namespace
}  // namespace longrun
