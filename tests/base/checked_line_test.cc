#include "base/checked_line.h"

#include <gtest/gtest.h>

#include <string>

namespace longrun {
namespace {

// CRC32C of "123456789", from the catalogue of CRC algorithms (CRC-32/ISCSI).
TEST(CheckedLineTest, TheChecksumIsThatOfTheCatalogue) {
  EXPECT_EQ(CheckedLine("123456789"), "123456789 crc32c=e3069283\n");
}

TEST(CheckedLineTest, WhatIsWrittenIsReadAgain) {
  for (const std::string text : {"unix:/a folder/coordinator.sock", "x", ""}) {
    EXPECT_EQ(ReadCheckedLine(CheckedLine(text)), text);
  }
  EXPECT_EQ(ReadCheckedLine("123456789 crc32c=e3069283"), "123456789");
}

TEST(CheckedLineTest, AnyFlippedBitIsFlippedBack) {
  const std::string text = "unix:/home/me/.local/share/longrun/coordinator.sock";
  const std::string whole = CheckedLine(text);
  for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
    std::string line = whole;
    line[bit / 8] = static_cast<char>(line[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_EQ(ReadCheckedLine(line), text) << "bit " << bit;
  }
}

TEST(CheckedLineTest, ALineWithoutItsChecksumOrWithMoreDamageIsNotRead) {
  std::string two_bits = CheckedLine("unix:/a/b");
  two_bits[1] ^= 3;
  for (const std::string& line : {std::string(), std::string("\n"), std::string("unix:/a/b\n"),
                                  std::string("a crc32c=00000000\n"), two_bits}) {
    EXPECT_FALSE(ReadCheckedLine(line).has_value()) << line;
  }
}

}  // namespace
}  // namespace longrun
