#include "model/data/tokenizer/bpe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "base/random.h"
#include "base/str.h"
#include "tests/model/data/tokenizer/vocabularies.h"

namespace longrun {
namespace {

using Ids = std::vector<std::int32_t>;

std::unique_ptr<Tokenizer> Make(const std::vector<std::string>& further) {
  return MakeBpeTokenizer(RanksWithEndOfText("test", BytesAnd(further))).value();
}

Ids Encoded(const Tokenizer& tokenizer, std::string_view text) {
  Ids ids;
  tokenizer.Encode(text, ids);
  return ids;
}

// The definition, step by step: of all neighbours that are a token together, the lowest, leftmost.
Ids SlowMerge(const std::vector<Token>& tokens, std::string_view piece) {
  std::map<std::string, std::int32_t> id_of;
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    id_of[tokens[id].bytes] = static_cast<std::int32_t>(id);
  }
  std::vector<std::string> parts;
  for (const char c : piece) parts.emplace_back(1, c);
  while (true) {
    std::size_t best = parts.size();
    std::int32_t best_id = INT32_MAX;
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto at = id_of.find(parts[i] + parts[i + 1]);
      if (at == id_of.end() || at->second >= best_id) continue;
      best = i;
      best_id = at->second;
    }
    if (best == parts.size()) break;
    parts[best] += parts[best + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
  Ids ids;
  for (const std::string& part : parts) ids.push_back(id_of[part]);
  return ids;
}

// What training did, token by token in the order of the ids: each pass joins from left to right.
Ids PassByPass(const std::vector<Token>& tokens, std::string_view piece) {
  std::vector<std::string> parts;
  for (const char c : piece) parts.emplace_back(1, c);
  for (std::size_t id = 256; id < tokens.size(); ++id) {
    std::vector<std::string> joined;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const bool joins = i + 1 < parts.size() && parts[i] + parts[i + 1] == tokens[id].bytes;
      joined.push_back(joins ? tokens[id].bytes : parts[i]);
      i += joins ? 1 : 0;
    }
    parts = joined;
  }
  Ids ids;
  for (const std::string& part : parts) {
    ids.push_back(
        static_cast<std::int32_t>(std::ranges::find(tokens, part, &Token::bytes) - tokens.begin()));
  }
  return ids;
}

// By hand, with ab = 256, abc = 257, bc = 258.
TEST(BpeTest, TheLowestIdIsMergedFirstThenTheLeftmost) {
  const auto tokenizer = Make({"ab", "abc", "bc"});
  EXPECT_EQ(Encoded(*tokenizer, "abc"), (Ids{257}));
  EXPECT_EQ(Encoded(*tokenizer, "bcab"), (Ids{258, 256}));
  EXPECT_EQ(Encoded(*tokenizer, "aabcc"), (Ids{'a', 257, 'c'}));
  EXPECT_EQ(Encoded(*tokenizer, "abbc"), (Ids{256, 258}));
  EXPECT_EQ(Encoded(*Make({"bc", "ab"}), "abc"), (Ids{'a', 256}));
  EXPECT_EQ(Encoded(*Make({"aa"}), "aaaaa"), (Ids{256, 256, 'a'}));
}

// No merge leads to "xyz"; tiktoken looks the piece up first.
TEST(BpeTest, APieceThatIsATokenIsThatToken) {
  const auto tokenizer = Make({"xyz", " xyz"});
  EXPECT_EQ(Encoded(*tokenizer, "xyz xyz"), (Ids{256, 257}));
  EXPECT_EQ(Encoded(*tokenizer, "wxyz"), (Ids{'w', 'x', 'y', 'z'}));
}

TEST(BpeTest, NoTokenCrossesTwoPieces) {
  const auto tokenizer = Make({"a b", "b1", "a ", " b"});
  EXPECT_EQ(Encoded(*tokenizer, "a b1"), (Ids{'a', 259, '1'}));
}

TEST(BpeTest, MergesAsTheDefinitionForEveryVocabularyAndLength) {
  SeededRandom random(11);
  for (int round = 0; round < 60; ++round) {
    std::vector<std::string> further;
    for (int i = 0; i < 30; ++i) {  // in no order that training would give
      std::string token;
      for (std::uint64_t n = 2 + random.Below(5); n > 0; --n) {
        token += static_cast<char>('a' + random.Below(3));
      }
      if (std::ranges::find(further, token) == further.end()) further.push_back(token);
    }
    const std::vector<Token> tokens = TextTokens(further);
    const BpeMerger merger = BpeMerger::Make(tokens).value();
    for (const std::size_t n : {1u, 2u, 7u, 63u, 64u, 65u, 66u, 200u}) {  // both ways of merging
      std::string piece;
      while (piece.size() < n) piece += static_cast<char>('a' + random.Below(3));
      Ids ids;
      merger.Merge(piece, PairTable::kNone, ids);
      ASSERT_EQ(ids, SlowMerge(tokens, piece)) << piece;
    }
  }
}

// Halves of lower ids, as training makes them: no other pair is looked up, and a long piece is
// merged one id after the other. 20000 letters are above where that begins.
TEST(BpeTest, MergesAsTheDefinitionWhatTrainingCouldHaveMade) {
  SeededRandom random(13);
  for (int round = 0; round < 12; ++round) {
    std::vector<std::string> further;
    std::vector<std::string> halves = {"a", "b", "c"};
    while (further.size() < 25) {
      const std::string token =
          halves[random.Below(halves.size())] + halves[random.Below(halves.size())];
      std::vector<std::string> with = further;
      with.push_back(token);
      if (token.size() > 12 || std::ranges::find(further, token) != further.end()) continue;
      if (!BpeMerger::Make(TextTokens(with)).value().every_token_is_merged()) continue;
      further = with;
      halves.push_back(token);
    }
    const std::vector<Token> tokens = TextTokens(further);
    const BpeMerger merger = BpeMerger::Make(tokens).value();
    ASSERT_TRUE(merger.every_token_is_merged());
    for (const std::size_t n : {3u, 64u, 65u, 300u}) {
      std::string piece;
      while (piece.size() < n) piece += static_cast<char>('a' + random.Below(3));
      Ids ids;
      merger.Merge(piece, PairTable::kNone, ids);
      ASSERT_EQ(ids, SlowMerge(tokens, piece)) << piece;
      ASSERT_EQ(ids, PassByPass(tokens, piece)) << piece;
    }
    std::string piece;
    while (piece.size() < 20'000) piece += static_cast<char>('a' + random.Below(3));
    Ids ids;
    merger.Merge(piece, PairTable::kNone, ids);
    ASSERT_EQ(ids, PassByPass(tokens, piece));
  }
}

// "xyz" is reached by no merge: pieces must be looked up.
TEST(BpeTest, KnowsWhetherEveryTokenIsMerged) {
  EXPECT_TRUE(BpeMerger::Make(TextTokens({"ab", "abc"})).value().every_token_is_merged());
  EXPECT_FALSE(BpeMerger::Make(TextTokens({"ab", "xyz"})).value().every_token_is_merged());
  EXPECT_FALSE(BpeMerger::Make(TextTokens({"abc", "ab"})).value().every_token_is_merged());
}

// 2^20 letters are 2^18 tokens of four; n^2 steps would not end.
TEST(BpeTest, AMillionEqualLettersAreMerged) {
  const auto tokenizer = Make({"aa", "aaaa"});
  const Ids ids = Encoded(*tokenizer, std::string(std::size_t{1} << 20, 'a'));
  EXPECT_EQ(ids, Ids(std::size_t{1} << 18, 257));
  // No merge leads to "xyz", so that the pairs are on a heap.
  const auto other = Make({"aa", "aaaa", "xyz"});
  EXPECT_EQ(Encoded(*other, std::string(std::size_t{1} << 20, 'a')), ids);
}

TEST(BpeTest, AnyBytesComeBack) {
  const auto tokenizer = Make({"th", "the", " the", "\xff\xfe", "\xe6\x97", "  "});
  SeededRandom random(12);
  for (int round = 0; round < 2'000; ++round) {
    std::string text;
    for (std::uint64_t n = random.Below(80); n > 0; --n) {
      text += random.Chance(0.5) ? static_cast<char>(random.Below(256))
                                 : "the \xff\xfe\xe6\x97"[random.Below(8)];
    }
    const Ids ids = Encoded(*tokenizer, text);
    ASSERT_EQ(tokenizer->Decode(ids).value(), text) << ToUtf8(text);
    // What is remembered of a piece says the same.
    ASSERT_EQ(Encoded(*tokenizer, text), ids);
  }
}

TEST(BpeTest, SpecialTokensInATextAreText) {
  const auto tokenizer = Make({});
  const Ids ids = Encoded(*tokenizer, "<|endoftext|>");
  EXPECT_EQ(ids.size(), 13u);
  EXPECT_EQ(std::ranges::count(ids, tokenizer->vocabulary().eot_id), 0);
}

TEST(BpeTest, APrefixSpaceIsGivenOnceAndNotToAnEmptyText) {
  Vocabulary vocabulary = RanksWithEndOfText("test", BytesAnd({" a"}));
  vocabulary.add_prefix_space = true;
  const auto tokenizer = MakeBpeTokenizer(vocabulary).value();
  EXPECT_EQ(Encoded(*tokenizer, "a"), (Ids{256}));
  EXPECT_EQ(Encoded(*tokenizer, " a"), (Ids{256}));
  EXPECT_EQ(Encoded(*tokenizer, "\na"), (Ids{' ', '\n', 'a'}));
  EXPECT_EQ(Encoded(*tokenizer, ""), Ids{});
  EXPECT_NE(vocabulary.Fingerprint(), RanksWithEndOfText("test", BytesAnd({" a"})).Fingerprint());
}

TEST(BpeTest, ManyThreadsShareATokenizer) {
  const auto tokenizer = Make({"th", "the", " the"});
  const std::string text = "the other theory\n";
  const Ids expected = Encoded(*tokenizer, text);
  std::vector<std::thread> threads;
  std::vector<int> n_right(4, 0);
  for (int& right : n_right) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) right += Encoded(*tokenizer, text) == expected ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(n_right, std::vector<int>(4, 500));
}

TEST(BpeTest, RowsAreAMultipleOf64) {
  EXPECT_EQ(EmbeddingRows(1), 64);
  EXPECT_EQ(EmbeddingRows(64), 64);
  EXPECT_EQ(EmbeddingRows(50257), 50304);
}

TEST(BpeMergerTest, VocabulariesThatCannotBeAreRefused) {
  struct Case {
    std::vector<Token> tokens;
    std::string message;
  };
  std::vector<Token> without_byte = TextTokens({});
  without_byte[0x20].kind = Token::Kind::kControl;
  const std::vector<Case> cases = {
      {{},
       "no token is the byte \"\\x00\": a byte-level vocabulary has a token for each of the 256 "
       "bytes"},
      {without_byte,
       "no token is the byte \"\\x20\": a byte-level vocabulary has a token for each "
       "of the 256 bytes"},
      {TextTokens({"ab", "b", "c"}),
       "token 257 has the same bytes as token 98 (\"b\"): the bytes of each token must differ"},
      {TextTokens({"ab", ""}), "token 257 has no bytes"},
      {TextTokens({std::string(257, 'a')}),
       "token 256 has 257 bytes, but at most 256 are supported"},
      {std::vector<Token>(1'048'576),
       "there are 1048576 tokens, but at most 1048575 are supported"},
  };
  for (const Case& bad : cases) {
    const auto merger = BpeMerger::Make(bad.tokens);
    ASSERT_FALSE(merger.ok()) << bad.message;
    EXPECT_EQ(merger.status().code(), Code::kInvalidArgument);
    EXPECT_EQ(merger.status().message(), bad.message);
  }
}

}  // namespace
}  // namespace longrun
