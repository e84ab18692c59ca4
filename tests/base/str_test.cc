// Text.
#include "base/str.h"

#include <gtest/gtest.h>

#include "base/edit_distance.h"

namespace longrun {
namespace {

TEST(StrTest, WritesNumbersInShortestForm) {
  EXPECT_EQ(Str("step ", 3, " of ", std::size_t{10}, ' ', true), "step 3 of 10 true");
  EXPECT_EQ(Str(0.1), "0.1");
  EXPECT_EQ(Str(0.1f), "0.1");
  EXPECT_EQ(Str(std::string("a"), std::string_view("b"), -7), "ab-7");
}

TEST(StrTest, SplitKeepsEmptyPartsAndJoinUndoesIt) {
  const std::vector<std::string> parts = Split("a,,b", ',');
  EXPECT_EQ(parts, (std::vector<std::string>{"a", "", "b"}));
  EXPECT_EQ(Join(parts, ","), "a,,b");
  EXPECT_EQ(Split("", ',').size(), 1u);
  EXPECT_EQ(Join({}, ", "), "");
}

TEST(StrTest, TrimTakesSpaceFromBothEnds) {
  EXPECT_EQ(Trim(" \t a b\r\n"), "a b");
  EXPECT_EQ(Trim("  "), "");
}

TEST(EditDistanceTest, CountsLettersMissingAddedChangedOrSwapped) {
  EXPECT_EQ(EditDistance("token", "tokens"), 1u);
  EXPECT_EQ(EditDistance("sise", "size"), 1u);
  EXPECT_EQ(EditDistance("lenght", "length"), 1u);
  EXPECT_EQ(EditDistance("seed", "spec"), 2u);
  EXPECT_EQ(EditDistance("", "seed"), 4u);
  EXPECT_EQ(EditDistance("seed", "seed"), 0u);
}

TEST(NearestTest, FindsTypingMistakes) {
  const std::vector<std::string> keys = {"buckets", "position", "seed", "train_length"};
  EXPECT_EQ(Nearest("bucket", keys), "buckets");     // one letter missing
  EXPECT_EQ(Nearest("postiion", keys), "position");  // two swapped
  EXPECT_EQ(Nearest("train-lenght", keys), "train_length");
  EXPECT_EQ(Nearest("batch", keys), "");  // nothing near
  EXPECT_EQ(Nearest("se", {"ab"}), "");   // two edits would replace all of it
  EXPECT_EQ(Nearest("", keys), "");
}

// A call with a word of a megabyte would otherwise keep a coordinator busy for minutes.
TEST(NearestTest, AWordThatIsLongerThanAnyNameIsNearNone) {
  EXPECT_EQ(Nearest(std::string(300, 'a'), {std::string(300, 'a') + "b"}), "");
  EXPECT_EQ(Nearest(std::string(100, 'a'), {std::string(100, 'a') + "b"}),
            std::string(100, 'a') + "b");
}

TEST(NearestTest, FindsTheSameLettersInAnotherCaseFirst) {
  EXPECT_EQ(Nearest("FP16", {"fp32", "bf16", "fp16"}), "fp16");
  EXPECT_EQ(Nearest("ALiBi", {"alibi", "rope"}), "alibi");
  EXPECT_EQ(Nearest("RoPE", {"alibi", "rope"}), "rope");
}

TEST(NearestTest, FindsWordsThatShareMostOfTheirLetters) {
  const std::vector<std::string> splits = {"train", "validation", "test"};
  for (const char* word : {"val", "valid", "validate", "validations"}) {
    EXPECT_EQ(Nearest(word, splits), "validation") << word;
  }
  EXPECT_EQ(Nearest("training", splits), "train");
  EXPECT_EQ(Nearest("va", splits), "");  // says too little
  EXPECT_EQ(Nearest("dev", splits), "");
  const std::vector<std::string> protocols = {"nonoverlap", "sliding_bos", "rolling", "last_k"};
  EXPECT_EQ(Nearest("nonoverlapping", protocols), "nonoverlap");
  EXPECT_EQ(Nearest("overlap", protocols), "nonoverlap");
  EXPECT_EQ(Nearest("sliding_window", protocols), "sliding_bos");
  EXPECT_EQ(Nearest("nothing", {"NOT", "not"}), "");
  EXPECT_EQ(Nearest("lap", protocols), "");  // three letters within a word are chance
  EXPECT_EQ(Nearest("my-sweep", {"my-sweep-one", "my-sweep-two"}), "");  // as much of both
}

TEST(UnambiguousPrefixTest, IsAsShortAsTheOthersAllow) {
  EXPECT_EQ(UnambiguousPrefix("3f2a91", {"3f2b00", "9999"}, 2), 4u);
  EXPECT_EQ(UnambiguousPrefix("3f2a91", {"9999"}, 3), 3u);
  EXPECT_EQ(UnambiguousPrefix("3f2a91", {"3f2a91"}, 3), 3u);  // itself is no other
  EXPECT_EQ(UnambiguousPrefix("3f", {"3f2a"}, 1), 2u);        // never longer than the id
}

// The boundaries of Unicode 15, table 3-7.
TEST(Utf8Test, AcceptsCharactersAndNothingElse) {
  for (const char* good : {"", "abc", "\xc2\x80", "\xe0\xa0\x80", "\xed\x9f\xbf",
                           "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(IsUtf8(good)) << good;
  }
  for (const char* bad : {"\x80", "\xc1\xbf", "\xc2", "\xe0\x9f\xbf", "\xed\xa0\x80",
                          "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xff", "a\xe2\x82"}) {
    EXPECT_FALSE(IsUtf8(bad)) << ToUtf8(bad);
  }
}

TEST(Utf8Test, BytesOfNoCharacterAreReplaced) {
  EXPECT_EQ(ToUtf8("a\xff"
                   "b\xc3\xa4"),
            "a\xef\xbf\xbd"
            "b\xc3\xa4");
  EXPECT_EQ(ToUtf8("\xe2\x82"), "\xef\xbf\xbd\xef\xbf\xbd");
}

TEST(OneLineTest, ANewlineIsWrittenOut) {
  EXPECT_EQ(OneLine("a\nb\n"), "a\\nb\\n");
  EXPECT_EQ(OneLine("plain"), "plain");
}

}  // namespace
}  // namespace longrun
