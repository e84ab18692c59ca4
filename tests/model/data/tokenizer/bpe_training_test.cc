#include "model/data/tokenizer/bpe_training.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "base/random.h"
#include "model/data/tokenizer/bpe.h"
#include "model/data/tokenizer/gpt2_scanner.h"
#include "model/data/tokenizer/hugging_face.h"
#include "tests/model/data/tokenizer/vocabularies.h"

namespace longrun {
namespace {

using Ids = std::vector<std::int32_t>;

std::vector<std::string> Trained(const std::vector<std::string>& texts, std::size_t n_further) {
  BpeTraining training;
  for (const std::string& text : texts) training.Add(text);
  auto bytes = training.Train(256 + n_further);
  EXPECT_TRUE(bytes.ok()) << bytes.status().message();
  return bytes.ok() ? *bytes : std::vector<std::string>();
}

// The definition, without any bookkeeping: all pairs are counted anew for each merge. A part is its
// bytes, which name it. Also gives the texts as they were merged.
struct SlowTraining {
  std::vector<std::vector<std::string>> pieces;
  std::vector<std::string> made;

  SlowTraining(const std::vector<std::string>& texts, std::size_t n_further) {
    for (const std::string& text : texts) {
      for (Gpt2Scanner scanner(text); !scanner.done();) {
        auto& piece = pieces.emplace_back();
        for (const char c : scanner.Next()) piece.emplace_back(1, c);
      }
    }
    while (made.size() < n_further && Merge()) {
    }
  }

  bool Merge() {
    std::map<std::pair<std::string, std::string>, int> counts;  // in the order of the bytes
    for (const auto& piece : pieces) {
      for (std::size_t i = 0; i + 1 < piece.size(); ++i) ++counts[{piece[i], piece[i + 1]}];
    }
    auto best = counts.end();
    for (auto at = counts.begin(); at != counts.end(); ++at) {
      if (at->second >= 2 && (best == counts.end() || at->second > best->second)) best = at;
    }
    if (best == counts.end()) return false;
    const auto [left, right] = best->first;
    for (auto& piece : pieces) {
      for (std::size_t i = 0; i + 1 < piece.size(); ++i) {
        if (piece[i] != left || piece[i + 1] != right) continue;
        piece[i] += right;
        piece.erase(piece.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      }
    }
    made.push_back(left + right);
    return true;
  }
};

// The example of Sennrich, Haddow and Birch 2016, algorithm 1, without its end-of-word mark: low 5,
// lower 2, newest 6, widest 3. By hand: (e,s) 9 and (s,t) 9, of which (e,s) comes first; then
// (es,t) 9; of lo, ow at 7: (l,o); then (lo,w) 7; of (est's left) (n,e), (e,w),
// (w,est) at 6: (e,w).
TEST(BpeTrainingTest, TheMostFrequentPairIsMergedFirstAndTiesGoByBytes) {
  std::string text;
  for (const auto& [word, count] : std::vector<std::pair<std::string, int>>{
           {"low\n", 5}, {"lower\n", 2}, {"newest\n", 6}, {"widest\n", 3}}) {
    for (int i = 0; i < count; ++i) text += word;
  }
  EXPECT_EQ(Trained({text}, 5), BytesAnd({"es", "est", "lo", "low", "ew"}));
}

TEST(BpeTrainingTest, OverlappingPlacesAreMergedFromTheLeft) {
  // aaaaa has (a, a) four times; then (aa, aa) and (aa, a) once in each of two.
  EXPECT_EQ(Trained({"aaaaa\naaaaa"}, 2), BytesAnd({"aa", "aaa"}));
}

TEST(BpeTrainingTest, MakesWhatCountingAnewEachTimeMakes) {
  SeededRandom random(5);
  for (int round = 0; round < 40; ++round) {
    const std::uint64_t n_letters = 1 + random.Below(4);
    std::vector<std::string> texts(3);
    for (std::string& text : texts) {
      for (std::uint64_t n = 20 + random.Below(200); n > 0; --n) {
        text += random.Chance(0.1) ? ' ' : static_cast<char>('a' + random.Below(n_letters));
      }
      text += '\n';
    }
    const SlowTraining slow(texts, 40);

    EXPECT_EQ(Trained(texts, slow.made.size()), BytesAnd(slow.made)) << round;
  }
}

// What training made of the texts is what the tokenizer makes of them.
TEST(BpeTrainingTest, TheTokenizerMergesAsTrainingDid) {
  SeededRandom random(6);
  for (int round = 0; round < 20; ++round) {
    std::string text;
    for (int i = 0; i < 400; ++i) {
      text += random.Chance(0.15) ? ' ' : static_cast<char>('a' + random.Below(3));
    }
    const SlowTraining slow({text}, 50);
    const Vocabulary vocabulary = RanksWithEndOfText("trained", Trained({text}, slow.made.size()));
    Ids expected;
    for (const auto& piece : slow.pieces) {
      for (const std::string& part : piece) {
        const auto at = std::ranges::find(vocabulary.tokens, part, &Token::bytes);
        expected.push_back(static_cast<std::int32_t>(at - vocabulary.tokens.begin()));
      }
    }
    Ids ids;
    MakeBpeTokenizer(vocabulary).value()->Encode(text, ids);
    EXPECT_EQ(ids, expected) << text;
    // And its merges can be listed: each token comes from two before it.
    EXPECT_TRUE(HuggingFaceText(vocabulary).ok());
  }
}

TEST(BpeTrainingTest, TheOrderOfTheTextsChangesNothing) {
  const std::vector<std::string> texts = {"the cat sat on the mat\n", "that is that\n", "a hat\n"};
  const std::vector<std::string> turned(texts.rbegin(), texts.rend());
  EXPECT_EQ(Trained(texts, 3), Trained(turned, 3));
}

TEST(BpeTrainingTest, TooFewPairsAreAnErrorThatSaysHowManyThereAre) {
  BpeTraining training;
  training.Add("abab");  // (a, b) twice; then (ab, ab) once
  const auto bytes = training.Train(300);
  ASSERT_FALSE(bytes.ok());
  EXPECT_EQ(bytes.status().code(), Code::kInvalidArgument);
  EXPECT_EQ(bytes.status().message(),
            "the texts give only 257 of the 300 tokens asked for, since no other pair occurs "
            "twice; give more text, or ask for fewer tokens");
  EXPECT_TRUE(training.Train(257).ok());
}

// 256 letters a become a token of 2, 4, ... 256; none of 512, which no vocabulary may hold.
TEST(BpeTrainingTest, NoTokenIsLongerThanAVocabularyMayHold) {
  BpeTraining training;
  training.Add(std::string(std::size_t{1} << 16, 'a'));
  const auto bytes = training.Train(256 + 8).value();
  EXPECT_EQ(bytes.back(), std::string(256, 'a'));
  EXPECT_FALSE(training.Train(256 + 9).ok());
}

}  // namespace
}  // namespace longrun
