#include "base/utf8.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "base/str.h"

namespace longrun {
namespace {

TEST(CheckUtf8, NamesTheBytesAsAShellWritesThem) {
  EXPECT_TRUE(CheckUtf8("caf\u00e9", "argument 1", "rename it").ok());
  const Status status = CheckUtf8("caf\xe9\n", "argument 1", "rename it");
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_EQ(
      status.message(),
      "argument 1 (\"caf\\xe9\\x0a\") is not UTF-8, which names and paths must be: rename it");
}

TEST(PrintableBytes, BytesOfNoCharacterAndControlCharactersAreWrittenAsTheirDigits) {
  EXPECT_EQ(PrintableBytes("a\xb2 caf\u00e9 \u4e2d\n"), "a\\xb2 caf\u00e9 \u4e2d\\x0a");
  EXPECT_EQ(PrintableBytes("\xe2\x82\x1b[\u009b\x7f"), "\\xe2\\x82\\x1b[\\xc2\\x9b\\x7f");
  EXPECT_EQ(PrintableBytes("\xe2"
                           "A\xff"),
            "\\xe2"
            "A\\xff");
  EXPECT_EQ(PrintableBytes(""), "");
}

// U+202E writes what follows from right to left: "gpj.exe" would look like "exe.jpg".
TEST(Printable, WhatATerminalWouldObeyIsWrittenOut) {
  EXPECT_EQ(Printable("a\u202egpj\u2069 \u2028"), "a\\u202egpj\\u2069 \\u2028");
  EXPECT_EQ(Printable("\u2026 \u2013 \u2030 \u2065"), "\u2026 \u2013 \u2030 \u2065");
  EXPECT_EQ(Printable("\x1b\t\u009b\n"), "\\x1b\\t\\x9b\n");
  EXPECT_EQ(Printable("\xe2"), "\ufffd");
}

TEST(Quoted, AGivenTextIsShownOnOneLineAndCutIfItIsLong) {
  EXPECT_EQ(Quoted("caf\u00e9"), "\"caf\u00e9\"");
  EXPECT_EQ(Quoted("a\nb\u202e"), "\"a\\x0ab\\xe2\\x80\\xae\"");
  EXPECT_EQ(Quoted(std::string(80, 'a')), Str('"', std::string(80, 'a'), '"'));
  EXPECT_EQ(Quoted(std::string(100'000, 'a')), Str('"', std::string(80, 'a'), "\u2026\""));
}

TEST(IsOneLine, OnlyCharactersThatAListCanShowAreAllowed) {
  for (const std::string_view shown : {"", "lr 2.0e-3", "caf\u00e9 \u4e2d\U0001f600", "\u00a0"}) {
    EXPECT_TRUE(IsOneLine(shown)) << shown;
  }
  for (const std::string_view hidden :
       {std::string_view("\0", 1), std::string_view("a\nb"), std::string_view("\t"),
        std::string_view("\x1b[2J"), std::string_view("\x7f"), std::string_view("\u009b"),
        std::string_view("\xff"), std::string_view("a\u202eb"), std::string_view("\u2067"),
        std::string_view("a\u2028b")}) {
    EXPECT_FALSE(IsOneLine(hidden)) << PrintableBytes(hidden);
  }
}

TEST(CutAt, NoCharacterIsCut) {
  const std::string_view text = "a\u00e9\u4e2d\U0001f600";  // 1, 2, 3 and 4 bytes
  EXPECT_EQ(CutAt(text, 100), text);
  EXPECT_EQ(CutAt(text, 10), text);
  EXPECT_EQ(CutAt(text, 9), "a\u00e9\u4e2d");
  EXPECT_EQ(CutAt(text, 7), "a\u00e9\u4e2d");
  EXPECT_EQ(CutAt(text, 6), "a\u00e9\u4e2d");
  EXPECT_EQ(CutAt(text, 5), "a\u00e9");
  EXPECT_EQ(CutAt(text, 2), "a");
  EXPECT_EQ(CutAt(text, 0), "");
}

// At most the 3 bytes that a character may have after its first.
TEST(CutAt, BytesOfNoCharacterAreCutWithoutGoingBackFurther) {
  EXPECT_EQ(CutAt(std::string(100, '\x80'), 50).size(), 47u);
}

TEST(Shortened, OnlyALongerTextGetsTheMark) {
  EXPECT_EQ(Shortened("abc", 3), "abc");
  EXPECT_EQ(Shortened("abcd", 3), "abc ...");
  EXPECT_EQ(Shortened("ab\u00e9", 3, "+"), "ab+");
}

TEST(Shortened, ATextIsCutBetweenWords) {
  EXPECT_EQ(Shortened("the disk is full", 10), "the disk ...");
  EXPECT_EQ(Shortened("the disk is full", 11), "the disk is ...");
  EXPECT_EQ(Shortened("the disk is full", 12), "the disk is ...");
  EXPECT_EQ(Shortened(" isfull", 4), " isf ...");
  // A word so long, such as a path, says something by its beginning.
  const std::string path = Str("in /", std::string(40, 'a'));
  EXPECT_EQ(Shortened(path, 30), Str(path.substr(0, 30), " ..."));
  EXPECT_EQ(Shortened(path, 26), "in ...");
}

// For each character, its beginnings of every length wait for the rest.
TEST(WithoutCutCharacter, TheBeginningOfACharacterWaits) {
  for (const std::string_view character :
       {"\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xe1\x80\x80", "\xed\x9f\xbf", "\xef\xbf\xbf",
        "\xf0\x90\x80\x80", "\xf1\x80\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    const std::string text = Str("a", character);
    EXPECT_EQ(WithoutCutCharacter(text), text);
    for (std::size_t n = 1; n < character.size(); ++n) {
      EXPECT_EQ(WithoutCutCharacter(Str("a", character.substr(0, n))), "a") << n;
    }
  }
  EXPECT_EQ(WithoutCutCharacter(""), "");
  EXPECT_EQ(WithoutCutCharacter("\xe2\x82"), "");
}

TEST(WithoutCutCharacter, WhatNoRestCompletesDoesNotWait) {
  for (const std::string_view bytes :
       {"a\x80", "a\x80\x80\x80\x80", "a\xc1", "a\xe0\x9f", "a\xed\xa0", "a\xf0\x8f", "a\xf4\x90",
        "a\xf5", "a\xff", "a\xc2\x80\x80", "a\xe2\x28"}) {
    EXPECT_EQ(WithoutCutCharacter(bytes), bytes) << PrintableBytes(bytes);
  }
}

}  // namespace
}  // namespace longrun
