// Text for people.
#include "client/words/render.h"

#include <gtest/gtest.h>

namespace longrun::client {
namespace {

TEST(RenderTest, ALineThatIsCutSaysSo) {
  EXPECT_EQ(ClipLines("abcdef\nabc\n\nabcde", 5), "abcd…\nabc\n\nabcde");
  EXPECT_EQ(ClipLines("abcdef\n", 1), "…\n");
  // Two bytes are one character, and a colour takes no room.
  EXPECT_EQ(ClipLines("±±±±", 4), "±±±±");
  EXPECT_EQ(ClipLines("±±±±±", 4), "±±±…");
  EXPECT_EQ(ClipLines("\x1b[1mabc\x1b[0m", 3), "\x1b[1mabc\x1b[0m");
  EXPECT_EQ(ClipLines("\x1b[1mabcd\x1b[0m", 3), "\x1b[1mab…\x1b[0m");
}

}  // namespace
}  // namespace longrun::client
