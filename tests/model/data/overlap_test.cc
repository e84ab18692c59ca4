// The share of a text that another text has, against the definition itself: every pair of places,
// one token after the other.
#include "model/data/overlap.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/str.h"
#include "tests/commit_seed.h"

namespace longrun {
namespace {

using Tokens = std::vector<std::int32_t>;

class MadeSplit final : public TokenSplit {
 public:
  explicit MadeSplit(Tokens tokens) : tokens_(std::move(tokens)), starts_{0, n_tokens()} {}

  std::int64_t n_tokens() const override { return static_cast<std::int64_t>(tokens_.size()); }
  std::span<const std::int64_t> document_starts() const override { return starts_; }
  Status Read(std::int64_t begin, std::span<std::int32_t> out) const override {
    std::copy_n(tokens_.begin() + begin, out.size(), out.begin());
    return Status();
  }

 private:
  Tokens tokens_;
  std::vector<std::int64_t> starts_;
};

// The definition: row[j] is the number of equal tokens that end at text[i] and searched[j].
std::int64_t SharedLiterally(const Tokens& text, const Tokens& searched) {
  std::vector<bool> is_shared(text.size());
  std::vector<std::int64_t> above(searched.size() + 1), row(searched.size() + 1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::int64_t longest = 0;
    for (std::size_t j = 0; j < searched.size(); ++j) {
      row[j + 1] = text[i] == searched[j] ? above[j] + 1 : 0;
      longest = std::max(longest, row[j + 1]);
    }
    if (longest >= kOverlapTokens) {
      for (std::int64_t k = 0; k < longest; ++k) is_shared[i - static_cast<std::size_t>(k)] = true;
    }
    std::swap(above, row);
  }
  return std::ranges::count(is_shared, true);
}

std::int64_t Shared(const Tokens& text, const Tokens& searched) {
  const MadeSplit split(searched);
  const Result<TextOverlap> overlap = FindOverlap(text, split, split.n_tokens());
  EXPECT_TRUE(overlap.ok()) << overlap.status().message();
  EXPECT_EQ(overlap->n_tokens, static_cast<std::int64_t>(text.size()));
  EXPECT_TRUE(overlap->is_exact);
  return overlap->n_shared;
}

// All tokens are different, so that texts share only what is copied.
Tokens Different(std::size_t n, std::int32_t first) {
  Tokens tokens(n);
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

void Insert(const Tokens& part, std::size_t at, Tokens& text) {
  std::ranges::copy(part, text.begin() + static_cast<std::ptrdiff_t>(at));
}

TEST(OverlapTest, TextsWithoutACommonTokenShareNothing) {
  EXPECT_EQ(Shared(Different(1000, 0), Different(5000, 100'000)), 0);
}

TEST(OverlapTest, ATextIsWhollyInItself) {
  for (const std::size_t n : {64u, 65u, 95u, 96u, 1000u}) {
    EXPECT_EQ(Shared(Different(n, 0), Different(n, 0)), static_cast<std::int64_t>(n));
  }
}

TEST(OverlapTest, APlantedStretchOf64TokensCountsWhereverItIsAnd63TokensDoNot) {
  for (const std::size_t n : {63u, 64u, 100u}) {
    const Tokens planted = Different(n, 1'000'000);
    for (std::size_t at = 0; at < 70; ++at) {
      Tokens text = Different(400, 0), searched = Different(2000, 10'000);
      Insert(planted, at, text);
      Insert(planted, 700 + 3 * at, searched);
      EXPECT_EQ(Shared(text, searched), n < 64 ? 0 : static_cast<std::int64_t>(n)) << at;
    }
  }
}

TEST(OverlapTest, AStretchAcrossTheChunksThatAreReadIsFound) {
  constexpr std::size_t kChunk = 1u << 18;  // as in overlap.cc
  const Tokens planted = Different(64, 1'000'000);
  for (std::size_t before = 0; before <= 64; ++before) {
    Tokens text = Different(200, 0), searched = Different(kChunk + 200, 2'000'000);
    Insert(planted, 31, text);
    Insert(planted, kChunk - before, searched);
    EXPECT_EQ(Shared(text, searched), 64) << before;
  }
}

TEST(OverlapTest, OnlyTheTokensThatAreToBeSearchedAreSearched) {
  const Tokens text = Different(64, 0);
  Tokens searched = Different(300, 1000);
  Insert(text, 100, searched);
  const MadeSplit split(searched);
  EXPECT_EQ(FindOverlap(text, split, 163)->n_shared, 0);
  EXPECT_EQ(FindOverlap(text, split, 164)->n_shared, 64);
}

TEST(OverlapTest, ATextThatIsTooShortForAStretchSharesNothing) {
  for (const std::size_t n : {0u, 1u, 31u, 32u, 63u}) EXPECT_EQ(Shared(Different(n, 0), {}), 0);
  EXPECT_EQ(Shared(Different(63, 0), Different(63, 0)), 0);
}

TEST(OverlapTest, OfEndlessRepetitionsASearchThatEndedEarlySaysSo) {
  // Every block of the text without a break is at every place, and no stretch is: breaks are 50
  // tokens apart.
  Tokens text(50'000, 7);
  for (std::size_t i = 0; i < text.size(); i += 50) text[i] = 9;
  const MadeSplit split(Tokens(100'000, 7));
  const Result<TextOverlap> overlap = FindOverlap(text, split, split.n_tokens());
  EXPECT_FALSE(overlap->is_exact);
  EXPECT_EQ(overlap->n_shared, 0);
}

// Repeated and periodic texts, copied parts that touch and overlap.
TEST(OverlapTest, RandomTextsShareWhatTheDefinitionSays) {
  const std::uint64_t seed = testing::CommitSeed();
  SCOPED_TRACE(Str("LONGRUN_TEST_SEED=", seed));
  SeededRandom random(seed);
  const auto below = [&random](std::uint64_t n) {
    return static_cast<std::size_t>(random.Below(n));
  };
  for (int round = 0; round < 20; ++round) {
    Tokens searched(200 + below(1500)), text(50 + below(800));
    const std::uint64_t n_ids = round % 4 == 0 ? 1 : round % 4 == 1 ? 2 : 1000;
    for (Tokens* const one : {&searched, &text}) {
      for (std::int32_t& token : *one) token = static_cast<std::int32_t>(below(n_ids));
      // Breaks, so that texts of one id are not all alike.
      for (std::size_t i = below(90); i < one->size(); i += 1 + below(180)) {
        (*one)[i] = static_cast<std::int32_t>(below(5000));
      }
    }
    for (int copies = 0; copies < 6; ++copies) {
      const std::size_t n = std::min({below(180), searched.size(), text.size()});
      const std::size_t from = below(searched.size() - n + 1);
      const std::size_t to = below(text.size() - n + 1);
      std::copy_n(searched.begin() + static_cast<std::ptrdiff_t>(from), n,
                  text.begin() + static_cast<std::ptrdiff_t>(to));
    }
    EXPECT_EQ(Shared(text, searched), SharedLiterally(text, searched)) << "round " << round;
  }
}

}  // namespace
}  // namespace longrun
