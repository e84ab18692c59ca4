#include "base/letter_case.h"

#include <gtest/gtest.h>

namespace longrun {
namespace {

TEST(LetterCaseTest, OnlyLettersOfAsciiChange) {
  EXPECT_EQ(InSmallLetters("AZ az @[`{ 09 \xc3\x84"), "az az @[`{ 09 \xc3\x84");
  EXPECT_EQ(InCapitals("AZ az @[`{ 09 \xc3\xa4"), "AZ AZ @[`{ 09 \xc3\xa4");
}

}  // namespace
}  // namespace longrun
