#include "model/data/tokenizer/gpt2_scanner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>
#include <span>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/random.h"
#include "base/str.h"
#include "model/data/tokenizer/unicode_ranges.h"

namespace longrun {
namespace {

std::vector<std::string> Pieces(std::string_view text) {
  std::vector<std::string> pieces;
  for (Gpt2Scanner scanner(text); !scanner.done();) pieces.emplace_back(scanner.Next());
  return pieces;
}

// ---- the rule once more, slowly: the alternatives in order at each place ------------------------

struct SlowCharacter {
  std::string bytes;
  char kind = 'o';  // l, n, s, o
};

bool IsIn(std::uint32_t code, std::span<const CodeRange> ranges) {
  return std::ranges::any_of(
      ranges, [&](const CodeRange& range) { return code >= range.first && code <= range.last; });
}

// The longest well-formed character, or one byte.
SlowCharacter First(std::string_view text) {
  for (std::size_t n = 4; n >= 1; --n) {
    if (n > text.size() || !IsUtf8(text.substr(0, n))) continue;
    const auto first = static_cast<unsigned char>(text[0]);
    const std::size_t n_first = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (n_first != n) continue;
    std::uint32_t code = n == 1 ? first : first & (0xffu >> (n + 1));
    for (std::size_t i = 1; i < n; ++i) {
      code = code << 6 | (static_cast<unsigned char>(text[i]) & 0x3fu);
    }
    const char kind = IsIn(code, kLetterRanges)   ? 'l'
                      : IsIn(code, kNumberRanges) ? 'n'
                      : IsIn(code, kSpaceRanges)  ? 's'
                                                  : 'o';
    return {.bytes = std::string(text.substr(0, n)), .kind = kind};
  }
  return {.bytes = std::string(text.substr(0, 1))};
}

// How many characters from `at` on the rule takes.
std::size_t SlowMatch(const std::vector<SlowCharacter>& text, std::size_t at) {
  const auto literal = [&](std::string_view word) {
    for (std::size_t i = 0; i < word.size(); ++i) {
      if (at + i >= text.size() || text[at + i].bytes != std::string(1, word[i])) return false;
    }
    return true;
  };
  for (const std::string_view word : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}) {
    if (literal(word)) return word.size();
  }
  const auto run = [&](std::size_t from, char kind) {
    std::size_t n = 0;
    while (from + n < text.size() && text[from + n].kind == kind) ++n;
    return n;
  };
  for (const char kind : {'l', 'n', 'o'}) {
    const std::size_t blank = text[at].bytes == " " && run(at + 1, kind) > 0 ? 1 : 0;
    if (const std::size_t n = run(at + blank, kind); n > 0) return blank + n;
  }
  const std::size_t n_spaces = run(at, 's');
  for (std::size_t n = n_spaces; n >= 1; --n) {  // \s+(?!\S), from the longest on
    const bool before_other = at + n < text.size() && text[at + n].kind != 's';
    if (!before_other) return n;
  }
  return n_spaces;
}

std::vector<std::string> SlowPieces(std::string_view text) {
  std::vector<SlowCharacter> characters;
  while (!text.empty()) {
    characters.push_back(First(text));
    text.remove_prefix(characters.back().bytes.size());
  }
  std::vector<std::string> pieces;
  for (std::size_t at = 0; at < characters.size();) {
    std::string piece;
    for (const std::size_t end = at + SlowMatch(characters, at); at < end; ++at) {
      piece += characters[at].bytes;
    }
    pieces.push_back(piece);
  }
  return pieces;
}

TEST(Gpt2ScannerTest, CutsAsTheRuleTriedPlaceByPlaceDoes) {
  const std::vector<std::string> parts = {"'",
                                          "s",
                                          "t",
                                          "re",
                                          "ve",
                                          "m",
                                          "ll",
                                          "d",
                                          "S",
                                          "a",
                                          "Zz",
                                          "1",
                                          "42",
                                          "_",
                                          ".",
                                          "-",
                                          " ",
                                          "  ",
                                          "\t",
                                          "\n",
                                          "\r\n",
                                          "\xa0",
                                          "\xc2",
                                          "\xc2\xa0",
                                          "\xe2\x80\xa8",
                                          "\xe2\x80\x8b",
                                          "\xe3\x80\x80",
                                          "\xc3\xa9",
                                          "\xcc\x81",
                                          "\xc2\xb2",
                                          "\xe6\x97\xa5",
                                          "\xe6\x97",
                                          "\xed\xa0\x80",
                                          "\xf0\x9f\x99\x82",
                                          "\xf0\x9d\x9f\x98",
                                          "\xf4\x90\x80\x80",
                                          "\xc0\xa0",
                                          "\xe0\x80\xa0",
                                          "\xff",
                                          std::string(1, '\0')};
  SeededRandom random(4);
  for (int i = 0; i < 20'000; ++i) {
    std::string text;
    for (std::uint64_t n = 1 + random.Next() % 16; n > 0; --n) {
      text += parts[random.Next() % parts.size()];
    }
    ASSERT_EQ(Pieces(text), SlowPieces(text)) << ToUtf8(text);
  }
}

TEST(Gpt2ScannerTest, EveryCodePointHasTheClassOfItsRange) {
  const CharClasses& classes = CharClasses::Get();
  const auto count = [&](std::span<const CodeRange> ranges, CharClass char_class) {
    std::size_t n = 0, n_right = 0;
    for (const CodeRange& range : ranges) {
      for (std::uint32_t code = range.first; code <= range.last; ++code) {
        ++n;
        if (classes.Of(code) == char_class) ++n_right;
      }
    }
    EXPECT_EQ(n, n_right);
    std::size_t n_all = 0;
    for (std::uint32_t code = 0; code < 0x110000; ++code) {
      if (classes.Of(code) == char_class) ++n_all;
    }
    EXPECT_EQ(n_all, n);
    return n;
  };
  // The sizes of L, N and White_Space in Unicode 16.0 (DerivedGeneralCategory.txt, PropList.txt).
  EXPECT_EQ(count(kLetterRanges, CharClass::kLetter), 141'028u);
  EXPECT_EQ(count(kNumberRanges, CharClass::kNumber), 1'911u);
  EXPECT_EQ(count(kSpaceRanges, CharClass::kSpace), 25u);
}

// From the module `regex` of Python, by tools/tokenizer_golden.py.
TEST(Gpt2ScannerTest, CutsAsTheRegularExpressionDoes) {
  const std::string golden =
      ReadFile(JoinPath(LONGRUN_SOURCE_DIR, "tests/golden/tokenizer/gpt2_pieces.txt")).value();
  int n_lines = 0;
  for (const std::string& line : Split(golden, '\n')) {
    if (line.empty()) continue;
    ++n_lines;
    const std::size_t blank = line.find(' ');
    std::string text;
    for (std::size_t i = 0; i < blank; i += 2) {
      unsigned byte = 0;
      std::from_chars(&line[i], &line[i] + 2, byte, 16);
      text += static_cast<char>(byte);
    }
    std::vector<std::string> sizes;
    for (const std::string& piece : Pieces(text)) sizes.push_back(Str(piece.size()));
    ASSERT_EQ(Join(sizes, ","), line.substr(blank + 1)) << "line " << n_lines << ": " << text;
  }
  EXPECT_EQ(n_lines, 400);
}

TEST(Gpt2ScannerTest, TextOfEveryLengthEndsWhereItEnds) {
  const std::string text = "I'll  pay \xe2\x82\xac 20,50 \xf0\x9f\x99\x82\n\n'v";
  for (std::size_t n = 0; n <= text.size(); ++n) {
    // A copy of its own, so that reading behind the end is seen by the sanitizer.
    const std::vector<char> copy(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(n));
    const std::string_view part(copy.data(), copy.size());
    EXPECT_EQ(Join(Pieces(part), ""), part);
    EXPECT_EQ(Pieces(part), SlowPieces(part));
  }
}

}  // namespace
}  // namespace longrun
